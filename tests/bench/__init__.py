"""How good the memory plan is, against engines that really ran. `make bench` prints it; the tests hold it.

It calls the plan through its public door and changes nothing in it: rows -> resources -> plans -> errors -> tables.
"""
