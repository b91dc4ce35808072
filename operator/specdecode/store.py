"""What the watch has said so far: one entry per resource, filled by the hooks, read by the reconcile.

The store is a cache. Every decision that leads to a write is taken again on live reads.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from specdecode.api.vocabulary import LABEL_ARM, LABEL_DEPLOYMENT, Arm
from specdecode.decide.facts import PodFact
from specdecode.manifests.names import deployment_name, is_meter_name
from specdecode.observe.cluster import pod_fact

Key = tuple[str, str]
"""Namespace and name of a SpecDecodeDeployment."""


@dataclass
class Entry:
    """What is known of one resource."""

    body: dict[str, Any] | None = None
    """The resource as the watch sent it, without managedFields."""
    deployment: dict[str, Any] | None = None
    """The owned Deployment of the main arm."""
    control: dict[str, Any] | None = None
    """The owned Deployment of the control arm."""
    services: set[str] = field(default_factory=set)
    meters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Metadata of the ConfigMaps with a meter, by name."""
    pods: dict[str, PodFact] = field(default_factory=dict)
    """Of the main arm."""


def without_managed_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a watched object without the bookkeeping of field managers, its largest part."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}


def owner_key(body: Mapping[str, Any]) -> Key | None:
    """The resource that a child belongs to, by our label."""
    metadata = body["metadata"]
    name = (metadata.get("labels") or {}).get(LABEL_DEPLOYMENT)
    return (metadata["namespace"], name) if name else None


class Store:
    """Entries by key. Each method answers with the key whose reconcile is due, or None."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}

    def known(self) -> list[Key]:
        """Resources that exist."""
        return [key for key, entry in self._entries.items() if entry.body is not None]

    def entry(self, key: Key) -> Entry | None:
        """What is known of a resource; None once it is gone."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.body is not None else None

    def versions(self) -> dict[Key, str]:
        """Resource version of every resource as last seen."""
        return {key: str((self._entries[key].body or {})["metadata"]["resourceVersion"]) for key in self.known()}

    def take_resource(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key:
        """A resource was added, changed or deleted."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        if is_deleted:
            self.drop_resource(key)
        else:
            self._entries.setdefault(key, Entry()).body = without_managed_fields(body)
        return key

    def drop_resource(self, key: Key) -> None:
        """A resource is gone; its children are forgotten as their own events arrive."""
        self._entries.pop(key, None)

    def put_deployment(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key | None:
        """An owned Deployment was added, changed or deleted."""
        key, name = owner_key(body), body["metadata"]["name"]
        if key is None or name not in (deployment_name(key[1], arm) for arm in Arm):
            return None
        entry, stored = self._entries.setdefault(key, Entry()), None if is_deleted else without_managed_fields(body)
        if name == deployment_name(key[1]):
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
        services = self._entries.setdefault(key, Entry()).services
        name = body["metadata"]["name"]
        if is_deleted:
            services.discard(name)
        else:
            services.add(name)
        self._drop_if_empty(key)
        return key

    def put_config_map(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key | None:
        """An owned ConfigMap was added, changed or deleted. Its text is not kept: it cannot change."""
        key, name = owner_key(body), body["metadata"]["name"]
        if key is None or not is_meter_name(key[1], name):
            return None
        meters = self._entries.setdefault(key, Entry()).meters
        if is_deleted:
            meters.pop(name, None)
        else:
            meters[name] = without_managed_fields(body)["metadata"]
        self._drop_if_empty(key)
        return key

    def put_pod(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key | None:
        """A pod of an engine was added, changed or deleted. Nobody waits for those of the control arm."""
        key = owner_key(body)
        if key is None or body["metadata"]["labels"].get(LABEL_ARM) == Arm.CONTROL:
            return None
        pods = self._entries.setdefault(key, Entry()).pods
        name = body["metadata"]["name"]
        if is_deleted:
            pods.pop(name, None)
        else:
            pods[name] = pod_fact(body)
        self._drop_if_empty(key)
        return key

    def _drop_if_empty(self, key: Key) -> None:
        """The last child of a deleted resource takes the entry with it."""
        if self._entries[key] == Entry():
            del self._entries[key]

    def missing_from(self, listed: Iterable[Key]) -> list[Key]:
        """Resources in the store that a fresh list does not have."""
        present = set(listed)
        return [key for key in self.known() if key not in present]
