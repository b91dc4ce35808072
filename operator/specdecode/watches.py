"""How kopf watches: quietly, with little memory, and without end.

By itself it ends its process over an error in a watch other than 410 and over a 400, 401, 404 or what is no JSON as
the answer to a list; after a minute also over everything else. A restart mends no API server, and forgets.
"""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import chain, repeat
from typing import Any, cast

import kopf

# No public name leads to it. Where a release moves it this import fails, which is seen at once.
from kopf._cogs.clients import watching

from specdecode.api.vocabulary import FIELD_MANAGER
from specdecode.api.words import one_line

logger = logging.getLogger("specdecode")

Watch = Callable[..., AsyncGenerator[Any, None]]
_LONG_SECONDS = 60.0
"""A watch that lasted so long was a good one: the next failure is a first one again."""


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
    """Seconds between the attempts of something that fails: growing, and without end."""

    LONGEST = 10.0
    """How late it may be noticed that the API server is back."""

    def __iter__(self) -> Iterator[float]:
        return chain((1.0, 1.0, 2.0, 3.0, 5.0, 8.0), repeat(self.LONGEST))


class _Again:
    """The pauses of one thing that fails again and again, or only now and then."""

    def __init__(self) -> None:
        self._pauses = iter(Pauses())
        self._since = asyncio.get_running_loop().time()

    def pause(self) -> float:
        """After another failure."""
        now = asyncio.get_running_loop().time()
        if now - self._since > _LONG_SECONDS:
            self._pauses = iter(Pauses())
        self._since = now
        return next(self._pauses)


def unending(watch: Watch) -> Watch:
    """Kopf's watch of one kind in one place, list first, that closes where it would fail; kopf opens it again."""
    failures: dict[tuple[str, str | None], _Again] = {}

    async def continuous_watch(*, resource: Any, namespace: str | None, **asked: Any) -> AsyncGenerator[Any, None]:
        again = failures.setdefault((resource.plural, namespace), _Again())
        try:
            async with aclosing(watch(resource=resource, namespace=namespace, **asked)) as events:
                async for event in events:
                    yield event
        except kopf.LoginError:
            raise  # nothing else would ever ask for credentials again
        except Exception as error:  # noqa: BLE001 - whatever it was: without this watch the process is of no use
            seconds = again.pause()
            said = getattr(error, "message", None) or error  # of an answer of the API server, its own words
            what = one_line(f"{type(error).__name__}: {said}", 500)
            logger.warning("the watch of %s failed and is opened again in %.0f s: %s", resource.plural, seconds, what)
            await asyncio.sleep(seconds)

    return continuous_watch


class Login:
    """Credentials as often as kopf asks: whenever the API server said 401.

    Those of a pod change on disk every hour. Kopf never takes the same ones again, and an API server whose
    authentication is in trouble refuses good ones: here no two are equal, and they are handed out slowly.
    """

    def __init__(self) -> None:
        self._again: _Again | None = None
        self._count = 0

    async def credentials(self, **kwargs: Any) -> kopf.ConnectionInfo | None:
        """Those of the pod, or of the kubeconfig."""
        if self._again is None:
            self._again = _Again()
        else:
            await asyncio.sleep(self._again.pause())
        info = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        self._count += 1
        return info and dataclasses.replace(info, priority=self._count)


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


_KOPFS_OWN = cast("Watch", watching.continuous_watch)


async def watch(registry: kopf.OperatorRegistry, namespaces: Sequence[str]) -> None:
    """Watch what the registry's hooks want to hear of, until the process is told to stop."""
    watching.continuous_watch = unending(_KOPFS_OWN)
    await kopf.operator(
        registry=registry,
        settings=watch_settings(),
        namespaces=list(namespaces),
        clusterwide=not namespaces,
        standalone=True,
        # Kopf's own default asks for the user's name, and the user of a container has none.
        identity=FIELD_MANAGER,  # type: ignore[arg-type]  # their type of it is not public
    )
