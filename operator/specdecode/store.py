"""What the watch has said so far: one entry per resource, filled by the hooks, read by the reconcile.

The store is a cache. Every decision that leads to a write is taken again on live reads.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from specdecode.api.vocabulary import GROUP, KIND, LABEL_ARM, LABEL_DEPLOYMENT, Arm, Mode
from specdecode.decide.facts import PodFact
from specdecode.decide.latch import ROLLED_BACK_ACTION
from specdecode.manifests.names import deployment_name, is_meter_name
from specdecode.manifests.service import service_digest
from specdecode.observe.cluster import pod_fact
from specdecode.packed import Packer

Key = tuple[str, str]
"""Namespace and name of a SpecDecodeDeployment."""

T = TypeVar("T")


class ServiceSeen(NamedTuple):
    """A Service in few bytes."""

    uid: str
    resource_version: str
    digest: str
    """Of what is ours in it."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "ServiceSeen":
        """As the watch sent it."""
        return cls(body["metadata"].get("uid", ""), body["metadata"]["resourceVersion"], service_digest(body))

    @property
    def metadata(self) -> Mapping[str, Any]:
        """As far as it is kept."""
        return {"uid": self.uid, "resourceVersion": self.resource_version}


class _Kept:
    """An attribute that holds an object of the cluster, packed."""

    def __init__(self) -> None:
        self._packer = Packer()

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = f"_{name}"

    def __get__(self, entry: "Entry", _: type) -> dict[str, Any] | None:
        packed = getattr(entry, self._slot)
        return None if packed is None else self._packer.unpack(packed)

    def __set__(self, entry: "Entry", body: Mapping[str, Any] | None) -> None:
        setattr(entry, self._slot, None if body is None else self._packer.pack(body))


class Entry:
    """What is known of one resource, in few bytes: there may be ten thousand. Every look at a body unpacks it."""

    __slots__ = (
        "_body",
        "_control",
        "_deployment",
        "meters",
        "pods",
        "resource_version",
        "services",
        "speculates",
        "steps",
    )

    body = _Kept()
    """The resource as the watch sent it, without managedFields; None: it does not exist."""
    deployment = _Kept()
    """The owned Deployment of the main arm."""
    control = _Kept()
    """The owned Deployment of the control arm."""

    def __init__(self) -> None:
        self._body: bytes | None = None
        self._deployment: bytes | None = None
        self._control: bytes | None = None
        self.resource_version = ""
        self.speculates = False
        """Whether its status says so."""
        self.steps: tuple[datetime, ...] = ()
        """Steps down that its status remembers."""
        self.services: Mapping[str, ServiceSeen] = _NONE
        """By name."""
        self.meters: Mapping[str, dict[str, Any]] = _NONE
        """Metadata of the ConfigMaps with a meter, by name."""
        self.pods: Mapping[str, PodFact] = _NONE
        """Of the main arm."""

    @property
    def exists(self) -> bool:
        """Whether the resource itself does."""
        return self._body is not None

    @property
    def has_deployment(self) -> bool:
        """Whether the Deployment of the main arm was seen."""
        return self._deployment is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, not even a child."""
        kept = (self._body, self._deployment, self._control)
        return all(text is None for text in kept) and not (self.services or self.meters or self.pods)

    def leave(self) -> None:
        """The resource itself is gone."""
        self.body = None
        self.resource_version, self.speculates, self.steps = "", False, ()

    def take(self, body: Mapping[str, Any]) -> None:
        """The resource as the watch sent it."""
        self.body = without_managed_fields(body)
        self.resource_version = str(body["metadata"]["resourceVersion"])
        status = body.get("status") or {}
        self.speculates = status.get("mode") not in (None, Mode.OFF)
        self.steps = steps_in(status)


_NONE: Mapping[str, Any] = MappingProxyType({})
"""Shared by all that have none."""


def steps_in(status: Mapping[str, Any]) -> tuple[datetime, ...]:
    """When a resource stepped down, as far as its status remembers."""
    steps = (each for each in status.get("history") or () if each.get("action") == ROLLED_BACK_ACTION)
    return tuple(datetime.fromisoformat(each["at"]) for each in steps)


def without_managed_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a watched object without the bookkeeping of field managers, its largest part."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}


def is_late(heard: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    """Whether what is heard, by its metadata, is of an object that bore the name before the known one. The events of
    one object come in order; those of two with one name come as they like.
    """
    if known is None or heard.get("uid") == known.get("uid"):
        return False
    return int(heard["resourceVersion"]) < int(known["resourceVersion"])


def _metadata(body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if body is None else body["metadata"]


def owner_key(body: Mapping[str, Any]) -> Key | None:
    """The resource that a child belongs to: by our label, or, where somebody took that away, by its owner."""
    metadata = body["metadata"]
    name = (metadata.get("labels") or {}).get(LABEL_DEPLOYMENT)
    if name is None:
        owners = (owner for owner in metadata.get("ownerReferences") or () if owner.get("controller"))
        ours = (owner["name"] for owner in owners if _is_our_kind(owner))
        name = next(ours, None)
    return (metadata["namespace"], name) if name else None


def _is_our_kind(owner: Mapping[str, Any]) -> bool:
    return bool(owner["kind"] == KIND and owner["apiVersion"].partition("/")[0] == GROUP)


def _changed(items: Mapping[str, T], name: str, item: T | None) -> Mapping[str, T]:
    """The same with one item put, or taken away (None)."""
    others = {key: value for key, value in items.items() if key != name}
    return (others if item is None else others | {name: item}) or _NONE


class Store:
    """Entries by key. Each method answers with the key whose reconcile is due, or None."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}

    def _entry(self, key: Key) -> Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry()
        return entry

    def __len__(self) -> int:
        """How many resources exist."""
        return sum(entry.exists for entry in self._entries.values())

    def known(self) -> list[Key]:
        """Resources that exist."""
        return [key for key, entry in self._entries.items() if entry.exists]

    def entry(self, key: Key) -> Entry | None:
        """What is known of a resource; None once it is gone."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.exists else None

    def versions(self) -> dict[Key, str]:
        """Resource version of every resource as last seen."""
        return {key: entry.resource_version for key, entry in self._entries.items() if entry.exists}

    def take_resource(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key:
        """A resource was added, changed or deleted."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        entry = self.entry(key)
        if entry is not None and is_late(body["metadata"], _metadata(entry.body)):
            return key
        if is_deleted:
            self.drop_resource(key)
        else:
            self._entry(key).take(body)
        return key

    def drop_resource(self, key: Key) -> None:
        """A resource is gone. Its children are forgotten as their own events arrive: by now they may be those of a
        successor of its name, which another watch has told of already and will not tell of again.
        """
        entry = self._entries.get(key)
        if entry is not None:
            entry.leave()
            self._drop_if_empty(key)

    def put_deployment(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key | None:
        """An owned Deployment was added, changed or deleted."""
        key, name = owner_key(body), body["metadata"]["name"]
        if key is None or name not in (deployment_name(key[1], arm) for arm in Arm):
            return None
        entry, stored = self._entry(key), None if is_deleted else without_managed_fields(body)
        is_main = name == deployment_name(key[1])
        if is_late(body["metadata"], _metadata(entry.deployment if is_main else entry.control)):
            return key
        if is_main:
            entry.deployment = stored
        else:
            entry.control = stored
        self._drop_if_empty(key)
        return key

    def put_service(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key | None:
        """An owned Service was added, changed or deleted."""
        key = owner_key(body)
        if key is None:
            return None
        entry, name = self._entry(key), body["metadata"]["name"]
        known = entry.services.get(name)
        if not is_late(body["metadata"], None if known is None else known.metadata):
            entry.services = _changed(entry.services, name, None if is_deleted else ServiceSeen.of(body))
        self._drop_if_empty(key)
        return key

    def put_config_map(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key | None:
        """An owned ConfigMap was added, changed or deleted. Its text is not kept: it cannot change."""
        key, name = owner_key(body), body["metadata"]["name"]
        if key is None or not is_meter_name(key[1], name):
            return None
        entry = self._entry(key)
        if not is_late(body["metadata"], entry.meters.get(name)):
            kept = None if is_deleted else without_managed_fields(body)["metadata"]
            entry.meters = _changed(entry.meters, name, kept)
        self._drop_if_empty(key)
        return key

    def put_pod(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key | None:
        """A pod of an engine was added, changed or deleted. Nobody waits for those of the control arm."""
        key = owner_key(body)
        if key is None or body["metadata"]["labels"].get(LABEL_ARM) == Arm.CONTROL:
            return None
        entry = self._entry(key)
        entry.pods = _changed(entry.pods, body["metadata"]["name"], None if is_deleted else pod_fact(body))
        self._drop_if_empty(key)
        return key

    def _drop_if_empty(self, key: Key) -> None:
        """The last child of a deleted resource takes the entry with it."""
        if self._entries[key].is_empty:
            del self._entries[key]

    def missing_from(self, listed: Iterable[Key]) -> list[Key]:
        """Resources in the store that a fresh list does not have."""
        present = set(listed)
        return [key for key in self.known() if key not in present]
