"""The only module that imports kopf: hooks that unpack and hand over.

Only `on.event` hooks: no timers, daemons, indexes, tracked handlers, finalizers or webhooks, so kopf writes nothing and
nothing can block a deletion. An exception in such a hook is logged and dropped; therefore hooks only fill the store and
enqueue a key.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, Protocol, cast

import kopf

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

    @kopf.on.login(registry=registry)
    async def on_login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    return registry


class _NoDiffs(kopf.DiffBaseStorage):
    """What kopf compares an object with is for handlers of changes, and there are none. It would copy every object five
    times all the same, which is two thirds of what an event costs.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> None:
        """Nothing."""

    def store(self, **_: Any) -> None:
        """Nothing."""


class Pauses:
    """Seconds between the attempts of a request that fails: growing, and without end.

    Kopf's own end after a minute, and then the process does. A restart mends no API server, and forgets.
    """

    LONGEST = 10.0
    """How late it may be noticed that the API server is back."""

    def __iter__(self) -> Iterator[float]:
        return chain((1.0, 1.0, 2.0, 3.0, 5.0, 8.0), repeat(self.LONGEST))


def watch_settings() -> kopf.OperatorSettings:
    """Settings under which kopf watches and does nothing else."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = Pauses()
    # A watch that went silent is closed and opened again (nolar/kopf#585, #810, #955).
    settings.watching.inactivity_timeout = 70
    # While a worker is idle it holds the object that it saw last; with thousands of objects that is all of the memory.
    settings.queueing.idle_timeout = 0.05
    settings.watching.chunk_size = 100
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.peering.standalone = True
    # No hook here adds a finalizer; should one ever do, it must not be kopf's, which other operators share.
    settings.persistence.finalizer = "specdecode.io/unused"
    return settings


async def watch(store: Store, enqueue: Callable[[Key], None], namespaces: Sequence[str]) -> None:
    """Watch until the process is told to stop."""
    await kopf.operator(
        registry=make_registry(store, enqueue),
        settings=watch_settings(),
        namespaces=list(namespaces),
        clusterwide=not namespaces,
        standalone=True,
        # Kopf's own default asks for the user's name, and the user of a container has none.
        identity=FIELD_MANAGER,  # type: ignore[arg-type]  # their type of it is not public
    )
