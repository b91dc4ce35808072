"""Reads what the plan must know of a model from a mounted directory or from the hub. Blocking: call it in a thread."""
