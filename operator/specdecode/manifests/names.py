"""Names inside the manifests: objects, ports, volumes, paths. Deterministic, so that a visit after a crash finds what
the visit before it made.
"""

from specdecode.api.vocabulary import Arm

CONTAINER = "vllm"
"""The engine's container. Its statuses are the engine's; others may be injected beside it."""

PORT = 8000
"""vLLM's own default, for the container and the Service alike: what worked with `vllm serve` works here."""
PORT_NAME = "http"

CACHE_VOLUME = "models"
SHM_VOLUME = "shm"
HOME_VOLUME = "home"
TMP_VOLUME = "tmp"
METER_VOLUME = "meter"

HOME = "/home/vllm"
"""Home folder of the engine: compile caches and configuration go below it."""

METER_MOUNT = "/etc/specdecode/meter"
"""Where the meter's file is, and PYTHONPATH of the engines that run it."""


def deployment_name(resource_name: str, arm: Arm = Arm.MAIN) -> str:
    """The main Deployment has the resource's name, the one without speculation `<name>-control`.

    45 characters leave room for the suffixes of the main arm's pods; the server shortens the names of control pods.
    """
    return resource_name if arm is Arm.MAIN else f"{resource_name}-{arm.value}"


def service_name(resource_name: str) -> str:
    """The Service has the resource's name: `http://<name>.<namespace>:8000/v1`."""
    return resource_name


def pod_monitor_name(resource_name: str) -> str:
    """The PodMonitor has the resource's name."""
    return resource_name


def meter_name(resource_name: str, text_digest: str) -> str:
    """One ConfigMap for each text of the meter: `<name>-meter-<digest>`."""
    return f"{resource_name}-meter-{text_digest}"


def is_meter_name(resource_name: str, name: str) -> bool:
    """Whether an object of that name is a meter of the resource, of this operator or an older one."""
    return name.startswith(f"{resource_name}-meter-")
