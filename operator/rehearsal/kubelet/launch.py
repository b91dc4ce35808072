"""From a container's spec to a command line, or to the reason why there is none. Pure.

There is no image to run: a map says which program stands for which image. The container's `command`, which names a
program inside the image, is replaced by it; `args` are appended as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Body = Mapping[str, Any]
Secrets = Mapping[str, Mapping[str, str] | None]
"""Decoded data by name of the secret; None for one that does not exist."""
Fields = Mapping[str, str]
"""What the pod says of itself, by the path of the field."""

_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Launch:
    """A program that can be started."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    """Working directory; it may have to be made."""


@dataclass(frozen=True)
class CannotStart:
    """The reason and the message of a waiting container, in the kubelet's words."""

    reason: str
    message: str

    def again(self) -> "CannotStart":
        """What the second and every later attempt says."""
        if self.reason != "ErrImagePull":
            return self
        return CannotStart("ImagePullBackOff", f"Back-off pulling image: ErrImagePull: {self.message}")


def secret_names(container: Body) -> frozenset[str]:
    """The secrets that the container's environment needs."""
    sources = (variable.get("valueFrom", {}).get("secretKeyRef") for variable in container.get("env") or ())
    return frozenset(source["name"] for source in sources if source)


def launch(
    container: Body,
    *,
    programs: Mapping[str, Sequence[str]],
    secrets: Secrets,
    root: Path,
    rehearsal: Mapping[str, str],
    mounts: Mapping[str, Path] | None = None,
    fields: Fields | None = None,
) -> Launch | CannotStart:
    """The command line of a container.

    `root` is a folder of the pod's own: it stands for the root of its image, so that a working directory is one below
    it. `rehearsal` are variables that only the rehearsal's programs know, and that no pod spec can overrule. Nothing of
    this process's environment is inherited.

    `mounts` says where a mount path of the container is on this machine, for volumes that are: values of the
    environment that begin with one lead there. Nothing else can, as there is no file system of the container's own.
    `fields` are what variables may take from the pod itself.
    """
    program = _program(container["image"], programs)
    if isinstance(program, CannotStart):
        return program
    own = _own_variables(container, secrets, fields or {})
    if isinstance(own, CannotStart):
        return own
    return Launch(
        command=(*program, *container.get("args", ())),
        environment={
            "PATH": _PATH,
            "HOME": str(root),
            "TMPDIR": str(root),
            **{name: _led(value, mounts or {}) for name, value in own.items()},
            **rehearsal,
        },
        directory=root / container.get("workingDir", "").lstrip("/"),
    )


def _led(value: str, mounts: Mapping[str, Path]) -> str:
    """A value that begins with a mount path, on this machine; any other as it is."""
    for path, folder in mounts.items():
        if value == path or value.startswith((f"{path}/", f"{path}:")):
            return str(folder) + value.removeprefix(path)
    return value


def pre_stop_seconds(container: Body) -> float:
    """How long the pre-stop hook only waits: the action `sleep`, or the command `sleep` with one number."""
    hook = (container.get("lifecycle") or {}).get("preStop") or {}
    if "sleep" in hook:
        return float(hook["sleep"]["seconds"])
    match (hook.get("exec") or {}).get("command"):
        case ["sleep", seconds] if seconds.isdecimal():
            return float(seconds)
    return 0.0


def _program(image: str, programs: Mapping[str, Sequence[str]]) -> Sequence[str] | CannotStart:
    prefixes = [prefix for prefix in programs if image.startswith(prefix)]
    if not prefixes:
        known = ", ".join(programs) or "none"
        return CannotStart("ErrImagePull", f'no program stands for image "{image}"; known images: {known}')
    return programs[max(prefixes, key=len)]


def _own_variables(container: Body, secrets: Secrets, fields: Fields) -> dict[str, str] | CannotStart:
    if container.get("envFrom"):
        return CannotStart("CreateContainerConfigError", "the rehearsal's node does not support envFrom")
    variables: dict[str, str] = {}
    for variable in container.get("env") or ():
        value = _value(variable, secrets, fields)
        if isinstance(value, CannotStart):
            return value
        if value is not None:
            variables[variable["name"]] = value
    return variables


def _value(variable: Body, secrets: Secrets, fields: Fields) -> str | CannotStart | None:
    """The value of one variable; None for an optional reference that leads nowhere."""
    match variable.get("valueFrom"):
        case None:
            return str(variable.get("value", ""))
        case {"secretKeyRef": reference}:
            return _secret_value(reference, secrets)
        case {"fieldRef": {"fieldPath": path}} if path in fields:
            return fields[path]
        case {"fieldRef": {"fieldPath": path}}:
            kind = f"the field {path}"
        case source:
            kind = next(iter(source), "valueFrom")
    return CannotStart("CreateContainerConfigError", f"the rehearsal's node does not support {kind}")


def _secret_value(reference: Body, secrets: Secrets) -> str | CannotStart | None:
    data = secrets.get(reference["name"])
    value = None if data is None else data.get(reference["key"])
    if value is not None or reference.get("optional"):
        return value
    missing = (
        f'secret "{reference["name"]}" not found'
        if data is None
        else f"couldn't find key {reference['key']} in Secret {reference['name']}"
    )
    return CannotStart("CreateContainerConfigError", missing)


def pod_fields(pod: Body, address: str, host_address: str) -> Fields:
    """The fields of a pod that variables and files may take, by their paths."""
    metadata, spec = pod["metadata"], pod["spec"]
    return {
        **{f"metadata.{key}": str(metadata[key]) for key in ("name", "namespace", "uid")},
        **{f"metadata.labels['{key}']": value for key, value in (metadata.get("labels") or {}).items()},
        **{f"metadata.annotations['{key}']": value for key, value in (metadata.get("annotations") or {}).items()},
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": host_address,
    }
