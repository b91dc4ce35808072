"""What ten thousand deployments cost the operator, beside a Kopf operator that only watches (the floor) and one with a
timer per resource (the obvious design).

The API server, etcd and Prometheus are real. The deployments are converged without running pods: the library walks one
of each kind to where the operator would have brought it, the API server stores it once, and the others are copies of
what it stored, written straight into etcd.
"""
