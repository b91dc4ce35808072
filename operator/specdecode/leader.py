"""One writer among several replicas: a Lease that one of them holds.

A replica waits until the Lease is free, holds it by renewing it, and stops writing when it could not renew it for
`renew_seconds`, which is before anybody else may take it. Whether a Lease is free is judged by how long it has not
changed on the own clock, never by comparing its times with the own: clocks of nodes differ.

A Lease does not fence requests that are under way. `check` is asked before every write, so that a process that was
suspended and wakes up writes nothing; and what changes a Deployment carries the version it was read at.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from specdecode.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    LeaseLostError,
    NotFoundError,
    RefusedError,
    SettingsError,
)
from specdecode.kube import Body, Kube, object_path

logger = logging.getLogger("specdecode")

API_VERSION = "coordination.k8s.io/v1"
WANTED_BY = "specdecode.io/wanted-by"
"""Annotation on a Lease: who asks its holder to give it back."""


@dataclass(frozen=True)
class Terms:
    """How long a Lease holds: what Kubernetes' own components use."""

    lease_seconds: float = 15.0
    """A Lease that has not changed for so long is free."""
    renew_seconds: float = 10.0
    """A holder that could not renew it for so long has lost it."""
    retry_seconds: float = 2.0
    """Between two attempts."""


FORBIDDEN_SECONDS = 30.0
"""Rights that are missing for so long are not there. An API server that has just started forbids everything until it
has read its roles.
"""


class Sighting:
    """What is known of a Lease that others write: who holds it, and since when it has not changed."""

    def __init__(self) -> None:
        self._seen: tuple[Any, ...] | None = None
        self._unchanged_since = 0.0

    def note(self, lease: Body, now: float) -> None:
        """It was read; `now` is the own monotonic clock in seconds."""
        seen = (lease["metadata"]["uid"], lease["metadata"]["resourceVersion"])
        if seen != self._seen:
            self._seen, self._unchanged_since = seen, now

    def unchanged_seconds(self, now: float) -> float:
        """Since when it has not been written, as far as this process has seen."""
        return now - self._unchanged_since

    def is_free(self, lease: Body, identity: str, lease_seconds: float, now: float) -> bool:
        """Whether it may be taken by `identity`: it was given back, its holder has been silent for too long, or it was
        taken already and only the answer was lost.
        """
        spec = lease.get("spec") or {}
        silent_seconds = spec.get("leaseDurationSeconds") or lease_seconds
        return _holder(lease) in ("", identity) or now - self._unchanged_since >= silent_seconds


def _holder(lease: Body) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _wanted_by(lease: Body) -> str:
    return str((lease["metadata"].get("annotations") or {}).get(WANTED_BY, ""))


@dataclass(frozen=True)
class Standing:
    """A Lease at one moment, as somebody sees it who may not hold it."""

    holder: str
    """Empty: it was given back."""
    is_free: bool
    unchanged_seconds: float
    wanted_by: str


class Election:
    """One candidate for one Lease. `clock` is monotonic and goes on while the process is suspended; no other process
    ever has the same `identity`.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        terms: Terms | None = None,
    ) -> None:
        self._kube = kube
        self._namespace, self._name, self.identity = namespace, name, identity
        self._clock, self._now = clock, now
        self._terms = terms or Terms()
        self._sighting = Sighting()
        self._lease: Body | None = None
        """As last written by us; None: not held."""
        self._renewed_at = 0.0
        self._forbidden_since: float | None = None
        """None: the last answer was another one."""
        self.wanted_by = ""
        """Who has asked for it while it was held."""

    @property
    def is_held(self) -> bool:
        """Whether it was taken and not lost or given back since."""
        return self._lease is not None

    def check(self) -> None:
        """Raises LeaseLostError unless the Lease is surely held now."""
        if self._lease is None or self._left_seconds() <= 0:
            raise LeaseLostError(f"the Lease {self._namespace}/{self._name} is not held: nothing is written")

    async def look(self) -> "Standing | None":
        """Who holds it, as it is now; None: nobody ever has. Raises ClusterError."""
        lease = await self._kube.find(self._path())
        if lease is None:
            return None
        now = self._clock()
        self._sighting.note(lease, now)
        return Standing(
            holder=_holder(lease),
            is_free=self._sighting.is_free(lease, self.identity, self._terms.lease_seconds, now),
            unchanged_seconds=self._sighting.unchanged_seconds(now),
            wanted_by=_wanted_by(lease),
        )

    async def ask(self) -> None:
        """Ask its holder to give it back. Somebody who writes it meanwhile wins. Raises ClusterError."""
        lease = await self._kube.find(self._path())
        if lease is None or _holder(lease) in ("", self.identity):
            return
        metadata = {field: lease["metadata"][field] for field in ("name", "namespace", "uid", "resourceVersion")}
        metadata["annotations"] = {WANTED_BY: self.identity}
        with suppress(ConflictError):
            await self._kube.replace_lease({**lease, "metadata": metadata})

    async def try_once(self) -> bool:
        """Take it if it is free; answers whether it is held. Raises SettingsError as `acquire` does."""
        level, news = await self._attempt()
        if not self.is_held and level > logging.INFO:
            logger.log(level, news)
        return self.is_held

    async def acquire(self) -> None:
        """Wait until it is held. Raises SettingsError when it never will be: no rights, no namespace, a bad name."""
        told = (logging.NOTSET, "")
        while True:
            news = await self._attempt()
            if self._lease is not None:
                logger.info("leading: %s holds the Lease %s/%s", self.identity, self._namespace, self._name)
                return
            if news != told:
                logger.log(*news)
                told = news
            await asyncio.sleep(self._terms.retry_seconds)

    async def _attempt(self) -> tuple[int, str]:
        """Try once to take it; answers with what there is to log if that did not work."""
        lease = f"the Lease {self._namespace}/{self._name}"
        since, self._forbidden_since = self._forbidden_since, None
        try:
            return logging.INFO, f"standing by: {await self._try_to_take()} holds {lease}"
        except ForbiddenError as error:
            now = self._clock()
            self._forbidden_since = now if since is None else since
            news = f"the operator may not use {lease}: {error}; check its RBAC"
            if now - self._forbidden_since >= FORBIDDEN_SECONDS:
                raise SettingsError(news) from error
            return logging.WARNING, f"{news}; trying again, for the API server may have just started"
        except RefusedError as error:
            raise SettingsError(f"{lease} is refused: {error}; set another lease_name") from error
        except (ClusterError, TimeoutError) as error:
            return logging.WARNING, f"{lease} cannot be asked for, trying again: {str(error) or 'no answer'}"

    async def hold(self) -> NoReturn:
        """Renew it for ever. Raises LeaseLostError as soon as it is lost."""
        while True:
            await asyncio.sleep(self._terms.retry_seconds)
            self.check()
            try:
                # One request that hangs must leave time for another.
                async with asyncio.timeout(min(self._left_seconds(), self._terms.renew_seconds / 2)):
                    await self._renew()
            except LeaseLostError:
                raise
            except (ClusterError, TimeoutError) as error:
                logger.warning("the Lease was not renewed, trying again: %s", str(error) or "no answer")

    async def release(self) -> None:
        """Give it back, so that the next one need not wait; nothing when it is not held or cannot be reached."""
        lease, self._lease, self.wanted_by = self._lease, None, ""
        if lease is None or self._left_seconds() <= 0:
            return
        with suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(self._terms.retry_seconds):
                await self._give_back(lease)

    async def _give_back(self, lease: Body) -> None:
        try:
            await self._kube.replace_lease(self._body(lease, holder=""))
        except ConflictError:
            # Somebody asked for it, or only the answer to a renewal was lost.
            found = await self._kube.find(self._path())
            if found is not None and _holder(found) == self.identity:
                await self._kube.replace_lease(self._body(found, holder=""))

    def _left_seconds(self) -> float:
        return self._terms.renew_seconds - (self._clock() - self._renewed_at)

    async def _try_to_take(self) -> str:
        """Take it if it is free; answers with its holder."""
        async with asyncio.timeout(self._terms.renew_seconds):
            lease, asked_at = await self._kube.find(self._path()), self._clock()
            if lease is not None:
                self._sighting.note(lease, asked_at)
                if not self._sighting.is_free(lease, self.identity, self._terms.lease_seconds, asked_at):
                    return _holder(lease)
            try:
                self._lease = await self._written(lease)
                self._renewed_at = asked_at
            except ConflictError:
                return "another replica"
            return self.identity

    def _path(self) -> str:
        return object_path(API_VERSION, "leases", self._namespace, self._name)

    async def _written(self, lease: Body | None) -> Body:
        if lease is not None:
            return await self._kube.replace_lease(self._body(lease, holder=self.identity))
        try:
            return await self._kube.create_lease(self._body(None, holder=self.identity))
        except NotFoundError as error:
            raise SettingsError(
                f"the namespace {self._namespace} of the Lease {self._name} is not there: {error}; set lease_namespace"
            ) from error

    async def _renew(self) -> None:
        assert self._lease is not None, "only a Lease that is held is renewed"
        asked_at = self._clock()
        try:
            renewed = await self._written(self._lease)
        except (ConflictError, NotFoundError) as error:
            renewed = await self._written(await self._still_own(error))
        # From when it was asked for: the answer may have been long under way.
        self._lease, self._renewed_at = renewed, asked_at

    async def _still_own(self, error: ClusterError) -> Body:
        """The Lease as it is, if the one who wrote it was this process and only the answer was lost."""
        lease = await self._kube.find(self._path())
        self.wanted_by = "" if lease is None else _wanted_by(lease)
        if lease is None or _holder(lease) != self.identity:
            self._lease = None
            raise LeaseLostError(f"somebody else wrote the Lease {self._namespace}/{self._name}: {error}") from error
        return lease

    def _body(self, lease: Body | None, *, holder: str) -> Body:
        now = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before: Body = {} if lease is None else lease.get("spec") or {}
        is_kept = before.get("holderIdentity") == holder
        metadata: Body = {"name": self._name, "namespace": self._namespace}
        if is_kept and self.wanted_by:
            metadata["annotations"] = {WANTED_BY: self.wanted_by}
        if lease is not None:
            metadata |= {field: lease["metadata"][field] for field in ("uid", "resourceVersion")}
        return {
            "apiVersion": API_VERSION,
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": round(self._terms.lease_seconds),
                "acquireTime": before.get("acquireTime", now) if is_kept else now,
                "renewTime": now,
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if is_kept or not lease else 1),
            },
        }
