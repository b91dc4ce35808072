"""A cluster on this machine, for the rehearsal and for the system tests.

Everything is real but the GPU: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and Prometheus run as
processes, a local node runs each scheduled pod as a process.

    binaries       where the programs come from
    processes      one program as a process that dies with us
    certificates   the certificates and keys of one control plane
    control_plane  etcd and the Kubernetes components
    prometheus     a Prometheus that finds the pods as it would in a cluster
    faults         what can go wrong between the operator and Prometheus

The rehearsal imports `specdecode`; `specdecode` never imports the rehearsal.
"""
