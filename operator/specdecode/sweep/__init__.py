"""`specdecode sweep`: what speculation brings at an endpoint, by temperature and concurrency, measured with requests."""
