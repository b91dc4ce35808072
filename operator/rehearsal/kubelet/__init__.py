"""What the rehearsal's node is made of: a kubelet without a container runtime.

    addresses   one loopback network per node, one address per pod
    api         the node's calls to the API server
    launch      image, environment and arguments -> a command line, or why there is none (pure)
    volumes     ConfigMap volumes as files below the pod's own root
    probes      start-up, readiness and liveness over HTTP
    pod_status  what the containers do -> the pod's status (pure)
    containers  one container as a process: restarts, back-off, end
    pods        one pod from its first sight until its object is gone

`rehearsal.node` puts them together.
"""
