"""A Lease and those who want it: who may take it, when a holder stops writing, and what is given back.

The Lease lies in a store as strict as the API server's: another version than the stored one is refused. The story with
processes on the real API server is in tests/system/test_high_availability.py.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from specdecode.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    LeaseLostError,
    NotFoundError,
    RefusedError,
    SettingsError,
    UnavailableError,
)
from specdecode.leader import FORBIDDEN_SECONDS, Election, Sighting, Terms

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
QUICK = Terms(lease_seconds=15.0, renew_seconds=10.0, retry_seconds=0.01)


class Store:
    """One Lease, as the API server keeps it."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.writers: list[str] = []
        self.trouble: Exception | None = None
        self.trouble_of_writes: Exception | None = None
        self.answers_lost = 0

    async def find(self, path: str) -> dict[str, Any] | None:
        assert path == "/apis/coordination.k8s.io/v1/namespaces/ops/leases/specdecode"
        self._fail()
        return self.lease

    async def create_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        self._fail_write()
        if self.lease is not None:
            raise ConflictError("exists", status=409)
        return self._kept(body)

    async def replace_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        self._fail_write()
        if self.lease is None or body["metadata"]["resourceVersion"] != str(self.version):
            raise ConflictError("changed", status=409)
        return self._kept(body)

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def _fail_write(self) -> None:
        self._fail()
        if self.trouble_of_writes is not None:
            raise self.trouble_of_writes

    def _kept(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**body["metadata"], "uid": "u", "resourceVersion": str(self.version)}
        self.lease = {**body, "metadata": metadata}
        self.writers.append(body["spec"]["holderIdentity"])
        if self.answers_lost:
            self.answers_lost -= 1
            raise UnavailableError("reset")
        return self.lease


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def candidate(store: Store, clock: Clock, name: str = "a", terms: Terms = QUICK) -> Election:
    kube: Any = store
    return Election(kube, namespace="ops", name="specdecode", identity=name, clock=clock, now=lambda: NOW, terms=terms)


async def acquired(store: Store, clock: Clock, name: str = "a") -> Election:
    election = candidate(store, clock, name)
    await asyncio.wait_for(election.acquire(), 5)
    return election


async def is_waiting(election: Election) -> bool:
    """Whether it does not get the Lease for some attempts."""
    try:
        await asyncio.wait_for(election.acquire(), 0.2)
    except TimeoutError:
        return True
    return False


async def test_a_lease_that_is_not_there_is_made() -> None:
    store, clock = Store(), Clock()
    election = await acquired(store, clock)
    election.check()
    assert store.lease is not None
    assert store.lease["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-23T12:00:00.123456Z",
        "renewTime": "2026-11-23T12:00:00.123456Z",
        "leaseTransitions": 0,
    }


async def test_one_that_is_held_is_waited_for_and_taken_when_its_holder_is_silent() -> None:
    store, clock = Store(), Clock()
    await acquired(store, clock, "a")
    second = candidate(store, clock, "b")
    assert await is_waiting(second)
    clock.seconds += 14.9
    assert await is_waiting(second)
    clock.seconds += 0.1
    await asyncio.wait_for(second.acquire(), 5)
    second.check()
    assert store.lease is not None
    assert store.lease["spec"]["leaseTransitions"] == 1


async def test_how_old_its_times_look_is_nothing_to_go_by() -> None:
    """Clocks of nodes differ: a Lease from a past year is waited for like any other."""
    store, clock = Store(), Clock()
    await acquired(store, clock, "a")
    assert store.lease is not None
    store.lease["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
    assert await is_waiting(candidate(store, clock, "b"))


async def test_each_renewal_starts_the_wait_anew() -> None:
    store, clock = Store(), Clock()
    first = await acquired(store, clock, "a")
    second = candidate(store, clock, "b")
    for _ in range(3):
        clock.seconds += 9
        await first._renew()
        assert await is_waiting(second)


async def test_one_that_was_given_back_is_free_at_once() -> None:
    store, clock = Store(), Clock()
    first = await acquired(store, clock, "a")
    await first.release()
    with pytest.raises(LeaseLostError):
        first.check()
    await acquired(store, clock, "b")
    assert store.writers == ["a", "", "b"]


async def test_a_holder_that_slept_writes_nothing_when_it_wakes() -> None:
    """Before anybody else may take it: at ten seconds, not at fifteen."""
    store, clock = Store(), Clock()
    election = await acquired(store, clock)
    clock.seconds += 9.9
    election.check()
    clock.seconds += 0.2
    with pytest.raises(LeaseLostError, match="ops/specdecode is not held"):
        election.check()
    with pytest.raises(LeaseLostError):
        await asyncio.wait_for(election.hold(), 5)


async def test_a_holder_whose_lease_was_taken_has_lost_it_at_once() -> None:
    store, clock = Store(), Clock()
    first = await acquired(store, clock, "a")
    clock.seconds += 15
    second = candidate(store, clock, "b")
    second._sighting.note(store.lease or {}, clock() - 15)
    await acquired_by(second)
    clock.seconds -= 14
    with pytest.raises(LeaseLostError, match="somebody else"):
        await asyncio.wait_for(first.hold(), 5)
    with pytest.raises(LeaseLostError):
        first.check()


async def acquired_by(election: Election) -> None:
    await asyncio.wait_for(election.acquire(), 5)


@pytest.mark.parametrize("trouble", [UnavailableError("hangs"), TimeoutError()])
async def test_a_renewal_that_fails_is_tried_again_until_the_deadline(trouble: Exception) -> None:
    store, clock = Store(), Clock()
    election = await acquired(store, clock)
    store.trouble = trouble
    holding = asyncio.create_task(election.hold())
    await asyncio.sleep(0.1)
    assert not holding.done()
    store.trouble = None
    clock.seconds += 9
    await asyncio.sleep(0.1)
    clock.seconds += 9
    election.check()
    store.trouble = trouble
    clock.seconds += 11
    with pytest.raises(LeaseLostError):
        await asyncio.wait_for(holding, 5)


async def test_trouble_while_waiting_is_waited_out() -> None:
    store, clock = Store(), Clock()
    store.trouble = UnavailableError("down")
    election = candidate(store, clock)
    waiting = asyncio.create_task(election.acquire())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    store.trouble = None
    await asyncio.wait_for(waiting, 5)


async def test_rights_that_are_missing_are_said_at_once_and_not_waited_for_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, clock = Store(), Clock()
    store.trouble = ForbiddenError("leases is forbidden", status=403)
    words = "may not use the Lease ops/specdecode: leases is forbidden; check its RBAC"
    acquiring = asyncio.create_task(candidate(store, clock).acquire())
    await asyncio.sleep(0.1)
    assert [words in each.message for each in caplog.records] == [True], "said once"
    assert not acquiring.done()
    clock.seconds += FORBIDDEN_SECONDS
    with pytest.raises(SettingsError, match=words):
        await asyncio.wait_for(acquiring, 5)


async def test_an_api_server_that_has_just_started_may_forbid_everything() -> None:
    """It does until it has read its roles. Somewhat later it has; out of reach in between, it may begin anew."""
    store, clock = Store(), Clock()
    forbidden = ForbiddenError("leases is forbidden", status=403)
    acquiring = asyncio.create_task(candidate(store, clock).acquire())
    for trouble in (forbidden, UnavailableError("connection refused"), forbidden):
        store.trouble = trouble
        await asyncio.sleep(0.1)
        clock.seconds += FORBIDDEN_SECONDS - 1
        await asyncio.sleep(0.1)
    assert not acquiring.done()
    store.trouble = None
    await asyncio.wait_for(acquiring, 5)
    assert store.writers == ["a"]


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (RefusedError("metadata.name: Invalid value", status=422), "set another lease_name"),
        (
            NotFoundError("namespaces 'ops' not found", status=404),
            "the namespace ops .* is not there.*set lease_namespace",
        ),
    ],
)
async def test_settings_that_can_never_work_are_said_and_not_waited_for(trouble: ClusterError, words: str) -> None:
    store, clock = Store(), Clock()
    store.trouble_of_writes = trouble
    with pytest.raises(SettingsError, match=words):
        await asyncio.wait_for(candidate(store, clock).acquire(), 5)


@pytest.mark.parametrize("during", ["the taking", "a renewal"])
async def test_a_write_that_landed_without_an_answer_is_no_loss(during: str) -> None:
    is_taken = during == "a renewal"
    store, clock = Store(), Clock()
    election = await acquired(store, clock) if is_taken else candidate(store, clock)
    store.answers_lost = 1
    holding = asyncio.create_task(election.hold() if is_taken else election.acquire())
    await asyncio.sleep(0.1)
    assert store.answers_lost == 0
    clock.seconds += 9
    await asyncio.sleep(0.1)
    clock.seconds += 9
    if is_taken:
        election.check()
        assert not holding.done()
        holding.cancel()
    else:
        assert holding.done()
    assert set(store.writers) == {"a"}


async def test_a_lease_that_somebody_deleted_is_lost() -> None:
    store, clock = Store(), Clock()
    election = await acquired(store, clock)
    store.lease = None
    with pytest.raises(LeaseLostError, match="somebody else wrote"):
        await asyncio.wait_for(election.hold(), 5)


async def test_of_two_that_come_at_once_one_gets_it() -> None:
    store, clock = Store(), Clock()
    both = [candidate(store, clock, name) for name in ("a", "b")]
    waiting = [asyncio.create_task(election.acquire()) for election in both]
    done, pending = await asyncio.wait(waiting, timeout=0.3)
    assert (len(done), len(pending)) == (1, 1)
    held = 0
    for election in both:
        try:
            election.check()
        except ClusterError:
            continue
        held += 1
    assert held == 1
    for task in pending:
        task.cancel()


async def test_giving_back_what_is_not_held_or_out_of_reach_is_nothing() -> None:
    store, clock = Store(), Clock()
    await candidate(store, clock).release()
    assert store.writers == []
    election = await acquired(store, clock)
    store.trouble = UnavailableError("down")
    await election.release()
    assert store.writers == ["a"]


def test_a_lease_that_was_made_anew_under_its_name_is_another_one() -> None:
    sighting = Sighting()
    lease = {"metadata": {"uid": "1", "resourceVersion": "7"}, "spec": {"holderIdentity": "a"}}
    sighting.note(lease, 0)
    assert sighting.is_free(lease, "b", 15, 15)
    again = {**lease, "metadata": {"uid": "2", "resourceVersion": "7"}}
    sighting.note(again, 15)
    assert not sighting.is_free(again, "b", 15, 15)
    assert sighting.is_free({"metadata": again["metadata"]}, "b", 15, 15), "one without a holder is free"
    assert sighting.is_free(again, "a", 15, 15), "it was taken already, and only the answer was lost"
