"""What kopf calls: hooks that unpack and hand over.

Only `on.event` hooks: no timers, daemons, indexes, tracked handlers, finalizers or webhooks, so kopf writes nothing and
nothing can block a deletion. An exception in such a hook is logged and dropped; therefore hooks only fill the store and
enqueue a key.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import kopf

from specdecode import watches
from specdecode.api.vocabulary import FIELD_MANAGER, GROUP, LABEL_MANAGED_BY, PLURAL, VERSION
from specdecode.store import Key, Store, owner_key


def _is_ours(body: kopf.Body, **_: Any) -> bool:
    """Whether an object was made by this operator. A label that somebody took away is drift, which has to be seen."""
    is_labelled = body.metadata.labels.get(LABEL_MANAGED_BY) == FIELD_MANAGER
    return is_labelled or ("ownerReferences" in body["metadata"] and owner_key(body) is not None)


def _is_deleted(event: kopf.RawEvent) -> bool:
    return event["type"] == "DELETED"


class Put(Protocol):
    """A method of the store that takes in one child."""

    def __call__(self, body: Mapping[str, Any], *, is_deleted: bool) -> Key | None:
        """Store the body; answer with the key whose visit is due."""


Hook = Callable[..., Awaitable[None]]


def _child_hook(put: Put, enqueue: Callable[[Key], None]) -> Hook:
    async def on_child(event: kopf.RawEvent, **_: Any) -> None:
        key = put(event["object"], is_deleted=_is_deleted(event))
        if key is not None:
            enqueue(key)

    return on_child


def make_registry(store: Store, enqueue: Callable[[Key], None]) -> kopf.OperatorRegistry:
    """The hooks, on a registry of their own so that several operators fit into one process."""
    registry = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_resource(event: kopf.RawEvent, **_: Any) -> None:
        enqueue(store.take_resource(event["object"], is_deleted=_is_deleted(event)))

    children: tuple[tuple[str, str, str, Put], ...] = (
        ("apps", "v1", "deployments", store.put_deployment),
        ("", "v1", "services", store.put_service),
        ("", "v1", "configmaps", store.put_config_map),
        ("", "v1", "pods", store.put_pod),
    )
    for group, version, plural, put in children:
        on_child = _child_hook(put, enqueue)
        kopf.on.event(group, version, plural, when=_is_ours, id=plural, registry=registry)(on_child)

    kopf.on.login(registry=registry)(watches.Login().credentials)
    return registry


async def watch(store: Store, enqueue: Callable[[Key], None], namespaces: Sequence[str]) -> None:
    """Fill the store and enqueue keys until the process is told to stop."""
    await watches.watch(make_registry(store, enqueue), namespaces)
