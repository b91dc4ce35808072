"""What is known of vLLM: versions, flags, metric names, quantisation methods and model facts. Pure."""
