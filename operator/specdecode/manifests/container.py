"""The engine's container: command line, environment, probes, mounts. Values in, one dict out; nothing here decides.

The command line is a list and never passes through a shell. What a user may write into it was checked by the types of
`specdecode.api`; no value can hold `$(NAME)`, which the kubelet would expand.
"""

import math
from typing import Any

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.spec import SecretKeyReference, Variable
from specdecode.api.vocabulary import CACHE_MOUNT, Mode
from specdecode.manifests import names
from specdecode.manifests.meter import is_metered
from specdecode.plan.startup import startup_budget_seconds
from specdecode.plan.types import ModePlan

# The entrypoint of vllm/vllm-openai changed from this to `vllm serve`; naming it makes every version start alike.
COMMAND = ("python3", "-m", "vllm.entrypoints.openai.api_server")

STARTUP_PERIOD_SECONDS = 5
READINESS_PERIOD_SECONDS = 1
LIVENESS_PERIOD_SECONDS = 10
# A busy engine may answer late. Late is not dead, and taking its pod away makes the others busier.
PROBE_TIMEOUT_SECONDS = 5

PRE_STOP_SECONDS = 15
"""Time for the endpoints of a leaving pod to vanish everywhere, before it stops to accept connections."""
DRAIN_SECONDS = 105
"""Time for running requests to end after that."""


def _secret_source(reference: SecretKeyReference) -> dict[str, Any]:
    return {"secretKeyRef": {"name": reference.secret_name, "key": reference.key}}


def _variable(variable: Variable) -> dict[str, Any]:
    if variable.secret is not None:
        return {"name": variable.name, "valueFrom": _secret_source(variable.secret)}
    return {"name": variable.name, "value": variable.value}


def _needs_no_hub(resource: SpecDecodeDeployment) -> bool:
    speculation = resource.spec.speculation
    draft = speculation.draft if speculation else None
    models = [resource.spec.model.name, *([draft.name] if draft else [])]
    return all(name.startswith("/") for name in models)


def _environment(resource: SpecDecodeDeployment, mode: Mode) -> list[dict[str, Any]]:
    """Our variables, then the user's. A user may overrule USER and HF_HUB_OFFLINE; the other names are refused.

    PYTHONPATH is set only where the meter runs, because it replaces what the image may have set itself.

    No name starts with `VLLM_`: vLLM reads that prefix as its own (vllm-project/vllm#34199). A user who wants no usage
    statistics sets DO_NOT_TRACK, which vLLM honours.
    """
    variables: list[dict[str, Any]] = [
        {"name": "HF_HOME", "value": CACHE_MOUNT},
        {"name": "HOME", "value": names.HOME},
        # User 1000 may have no entry in the image's passwd, and torch asks for a name to place its compile cache.
        {"name": "USER", "value": "vllm"},
    ]
    if _needs_no_hub(resource):
        variables.append({"name": "HF_HUB_OFFLINE", "value": "1"})
    if is_metered(resource, mode):
        variables.append({"name": "PYTHONPATH", "value": names.METER_MOUNT})
    token = resource.spec.hugging_face_token
    if token is not None:
        variables.append({"name": "HF_TOKEN", "valueFrom": _secret_source(token)})
    own = [_variable(variable) for variable in resource.spec.engine.env]
    overruled = {variable["name"] for variable in own}
    return [variable for variable in variables if variable["name"] not in overruled] + own


def _probe(period_seconds: int, failure_threshold: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/health", "port": names.PORT_NAME},
        "periodSeconds": period_seconds,
        "timeoutSeconds": PROBE_TIMEOUT_SECONDS,
        "failureThreshold": failure_threshold,
    }


def _probes(load_bytes: int) -> dict[str, Any]:
    """`/health` answers only once the model is loaded: without a start-up probe liveness would kill every start."""
    budget_seconds = startup_budget_seconds(load_bytes)
    return {
        "startupProbe": _probe(STARTUP_PERIOD_SECONDS, math.ceil(budget_seconds / STARTUP_PERIOD_SECONDS)),
        "readinessProbe": _probe(READINESS_PERIOD_SECONDS, 2),
        # Ten failures: a long prefill must not look like a dead engine; a restart costs minutes.
        "livenessProbe": _probe(LIVENESS_PERIOD_SECONDS, 10),
    }


def _mounts(resource: SpecDecodeDeployment, mode: Mode) -> list[dict[str, Any]]:
    meter = {"name": names.METER_VOLUME, "mountPath": names.METER_MOUNT, "readOnly": True}
    return [
        {"name": names.CACHE_VOLUME, "mountPath": CACHE_MOUNT},
        {"name": names.SHM_VOLUME, "mountPath": "/dev/shm"},  # noqa: S108 - the path in the container, by POSIX
        {"name": names.HOME_VOLUME, "mountPath": names.HOME},
        {"name": names.TMP_VOLUME, "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own, shared with nobody
        *([meter] if is_metered(resource, mode) else []),
    ]


def container(resource: SpecDecodeDeployment, mode_plan: ModePlan) -> dict[str, Any]:
    """The container that runs one mode."""
    accelerator = resource.spec.accelerator
    gpus = {accelerator.resource_name: str(accelerator.count)}
    return {
        "name": names.CONTAINER,
        "image": resource.spec.engine.image,
        "command": list(COMMAND),
        "args": list(mode_plan.arguments),
        "env": _environment(resource, mode_plan.mode),
        "ports": [{"name": names.PORT_NAME, "containerPort": names.PORT, "protocol": "TCP"}],
        "resources": {"limits": gpus, "requests": dict(gpus)},
        "volumeMounts": _mounts(resource, mode_plan.mode),
        **_probes(mode_plan.load_bytes),
        # A command, not the sleep action: servers before 1.30 drop that, and the object would never be as we want it.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP_SECONDS)]}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            # Writable: NVIDIA's CDI hook updates the linker cache inside the root file system.
            "readOnlyRootFilesystem": False,
        },
    }
