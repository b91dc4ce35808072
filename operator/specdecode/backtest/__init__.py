"""The judgement over history: the same code as in production, without a cluster."""
