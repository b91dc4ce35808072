"""Plan to Kubernetes objects, for every mode before the judgement. Pure."""
