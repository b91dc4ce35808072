"""What we know of vLLM: versions, flags, metric names, model facts. Pure."""
