"""A plan held against what an engine printed while it started."""
