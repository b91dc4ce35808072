"""What the cluster says of deployments, for people: a stored object -> subject -> standing -> view -> text. Everything
but `client` is pure: time, and how the command was called, are arguments.
"""
