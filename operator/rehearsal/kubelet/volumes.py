"""ConfigMap volumes: files below the pod's own root, which is what its image's root would be. All other kinds of volume
are ignored: nothing is mounted, and their paths lead nowhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.kubelet.launch import CannotStart

Body = Mapping[str, Any]
ConfigMaps = Mapping[str, Mapping[str, str] | None]
"""Text data by name of the ConfigMap; None for one that does not exist."""


@dataclass(frozen=True)
class Mount:
    """One ConfigMap as one container sees it."""

    volume: str
    config_map: str
    path: str
    """In the container, absolute."""
    is_optional: bool


def config_map_mounts(pod: Body, container: Body) -> Iterator[Mount]:
    """The mounts of a container that show a ConfigMap. `pod` is the pod's spec."""
    sources = {volume["name"]: volume.get("configMap") for volume in pod.get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        source = sources.get(mount["name"])
        if source is not None:
            optional = bool(source.get("optional", False))
            yield Mount(mount["name"], source["name"], mount["mountPath"].rstrip("/"), optional)


def materialised(pod: Body, container: Body, config_maps: ConfigMaps, root: Path) -> Mapping[str, Path] | CannotStart:
    """Write the files of a container's ConfigMaps below `root`; where each mount path is on this machine.

    Says what a kubelet would, which waits for the ConfigMap and for a volume that it can mount, and refuses `items` and
    `subPath`, which nobody here uses.
    """
    found: dict[str, Path] = {}
    for mount in config_map_mounts(pod, container):
        problem = _problem(pod, container, mount, config_maps)
        if problem:
            return CannotStart("ContainerCreating", f'MountVolume.SetUp failed for volume "{mount.volume}": {problem}')
        found[mount.path] = folder = root / mount.path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (config_maps.get(mount.config_map) or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
    return found


def _problem(pod: Body, container: Body, mount: Mount, config_maps: ConfigMaps) -> str:
    if config_maps.get(mount.config_map) is None and not mount.is_optional:
        return f'configmap "{mount.config_map}" not found'
    uses_items = any(
        volume["name"] == mount.volume and volume["configMap"].get("items") for volume in pod.get("volumes") or ()
    )
    uses_sub_path = any(
        other["name"] == mount.volume and (other.get("subPath") or other.get("subPathExpr"))
        for other in container.get("volumeMounts") or ()
    )
    return "the rehearsal's node does not support items and subPath" if uses_items or uses_sub_path else ""
