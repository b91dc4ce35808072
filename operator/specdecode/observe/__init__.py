"""Reading: PromQL texts (pure), the Prometheus client, what the cluster says."""
