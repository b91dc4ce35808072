"""`specdecode sweep`: what speculation brings at an endpoint, by temperature and concurrency, measured by asking it."""
