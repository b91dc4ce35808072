"""The memory plan: what fits, by how much, and which flags follow. Pure."""
