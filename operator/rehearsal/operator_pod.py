"""What stands for the operator's image on a node of the rehearsal: the operator itself, listening at its pod's address.

A pod has a network of its own, a process has not: with the default, 0.0.0.0, it would take a port of the whole machine.
"""

import os
import sys

IMAGE = "ghcr.io/specdecode/specdecode-operator"
PROGRAM = (sys.executable, "-m", "rehearsal.operator_pod")

if __name__ == "__main__":
    # Only the pod needs it, not those who start one.
    from specdecode.cli import main

    sys.argv.append(f"--listen-address={os.environ['REHEARSAL_POD_IP']}")
    main()
