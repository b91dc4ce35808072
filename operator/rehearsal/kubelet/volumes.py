"""Volumes as files below the pod's own root, which is what its image's root would be: ConfigMaps, secrets, tokens and
fields of the pod, projected or not, and empty folders. All other kinds are ignored: nothing is mounted, and their paths
lead nowhere. Files are written when a container starts, and not again while it runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rehearsal.kubelet.launch import CannotStart

TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
"""Where programs look for the token of their pod."""

_TOKEN_SECONDS = 3600
_FOLDER_KEYS = frozenset({"configMap", "secret", "projected", "downwardAPI", "emptyDir"})

Body = Mapping[str, Any]


class Kind(StrEnum):
    """What files are made of."""

    CONFIG_MAP = "configmap"
    SECRET = "secret"  # noqa: S105 - a kind of object
    TOKEN = "token"  # noqa: S105 - a kind of source
    FIELDS = "fields"


@dataclass(frozen=True)
class Source:
    """Where the files of a folder come from."""

    kind: Kind
    name: str = ""
    """Of the ConfigMap or secret; of a token its audience."""
    items: tuple[tuple[str, str], ...] = ()
    """Keys, or paths of fields, and the files for them; none: every key is a file."""
    is_optional: bool = False
    seconds: int = _TOKEN_SECONDS
    """How long a token is valid."""


Found = Mapping[Source, Mapping[str, str] | None]
"""What each source holds, by key; None for one that does not exist. A token is under the key `token`."""


@dataclass(frozen=True)
class Mount:
    """One volume as one container sees it."""

    volume: str
    path: str
    """In the container, absolute."""
    sources: tuple[Source, ...]
    """None: an empty folder."""
    has_sub_path: bool


def mounts_of(pod: Body, container: Body) -> Iterator[Mount]:
    """The mounts of a container that are folders here. `pod` is the pod's spec."""
    volumes = {volume["name"]: volume for volume in pod.get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        volume = volumes.get(mount["name"], {})
        if _FOLDER_KEYS & volume.keys():
            has_sub_path = bool(mount.get("subPath") or mount.get("subPathExpr"))
            yield Mount(mount["name"], mount["mountPath"].rstrip("/"), tuple(_sources(volume)), has_sub_path)


def _sources(volume: Body) -> Iterator[Source]:
    projected = (volume.get("projected") or {}).get("sources")
    for body in (volume,) if projected is None else projected:
        yield from _source(body)


def _source(body: Body) -> Iterator[Source]:
    """The source of a volume, or of one part of a projected one: the same keys, but for a secret's name."""
    if (config_map := body.get("configMap")) is not None:
        yield Source(Kind.CONFIG_MAP, config_map["name"], _items(config_map), bool(config_map.get("optional")))
    if (secret := body.get("secret")) is not None:
        name = secret.get("secretName") or secret["name"]
        yield Source(Kind.SECRET, name, _items(secret), bool(secret.get("optional")))
    if (token := body.get("serviceAccountToken")) is not None:
        seconds = token.get("expirationSeconds") or _TOKEN_SECONDS
        yield Source(Kind.TOKEN, token.get("audience") or "", (("token", token["path"]),), seconds=seconds)
    if (fields := body.get("downwardAPI")) is not None:
        items = tuple((item["fieldRef"]["fieldPath"], item["path"]) for item in fields.get("items") or ())
        yield Source(Kind.FIELDS, items=items)


def _items(body: Body) -> tuple[tuple[str, str], ...]:
    return tuple((item["key"], item["path"]) for item in body.get("items") or ())


def materialised(pod: Body, container: Body, found: Found, root: Path) -> Mapping[str, Path] | CannotStart:
    """Write the files of a container's volumes below `root`; where each mount path is on this machine.

    Says what a kubelet would, which waits for what a volume is made of, and refuses `subPath`, which nobody here uses.
    """
    folders: dict[str, Path] = {}
    for mount in mounts_of(pod, container):
        files = _files(mount, found)
        if isinstance(files, str):
            return CannotStart("ContainerCreating", f'MountVolume.SetUp failed for volume "{mount.volume}": {files}')
        folders[mount.path] = folder = root / mount.path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    return folders


def _files(mount: Mount, found: Found) -> dict[str, str] | str:
    """The files of a mount by their paths, or why there are none."""
    if mount.has_sub_path:
        return "the rehearsal's node does not support subPath"
    files: dict[str, str] = {}
    for source in mount.sources:
        data = found.get(source)
        if data is None:
            if source.is_optional:
                continue
            return f'{source.kind} "{source.name}" not found'
        missing = [key for key, _ in source.items if key not in data]
        if missing and not source.is_optional:
            return f"references non-existent {source.kind} key: {missing[0]}"
        wanted = source.items or tuple((key, key) for key in data)
        files |= {path: data[key] for key, path in wanted if key in data}
    return files
