"""Any history of three replicas and one Lease: requests that hang, answers that are lost, requests that arrive after
their sender gave up, clocks that differ, processes that are suspended, stopped, or killed. At most one may write.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from specdecode.errors import ConflictError, LeaseLostError, NotFoundError, UnavailableError
from specdecode.leader import Election, Terms

CALM = settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
QUICK = settings(CALM, phases=[Phase.generate], max_examples=500)
"""The first history will do; it need not be the shortest."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is what the history says."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock_of_history = clock

    def time(self) -> float:
        return self._clock_of_history()

    def turn(self) -> None:
        """Let everything run that may run now."""
        for _ in range(6):
            self.run_until_complete(asyncio.sleep(0))


@dataclass(eq=False)
class Request:
    """On its way to the API server, or on its way back."""

    work: Callable[[], Any]
    answer: "asyncio.Future[Any]"
    outcome: Any = None
    is_handled: bool = False

    def handle(self) -> None:
        """The server does it, whether or not anybody still waits for the answer."""
        if not self.is_handled:
            self.is_handled = True
            try:
                self.outcome = self.work()
            except (ConflictError, NotFoundError) as error:
                self.outcome = error

    def deliver(self, outcome: Any) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


@dataclass
class Server:
    """One Lease, as strict as the API server, and the requests under way."""

    lease: dict[str, Any] | None = None
    version: int = 0
    under_way: list[Request] = field(default_factory=list)

    async def find(self, _: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self._asked(lambda: self.lease)
        return found

    async def create_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self._written(body)

    async def replace_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self._written(body)

    async def _written(self, body: dict[str, Any]) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            known = body["metadata"].get("resourceVersion")
            if known != (self.lease and self.lease["metadata"]["resourceVersion"]):
                raise ConflictError("changed", status=409)
            self.version += 1
            self.lease = {**body, "metadata": {**body["metadata"], "uid": "u", "resourceVersion": str(self.version)}}
            return self.lease

        written: dict[str, Any] = await self._asked(work)
        return written

    async def _asked(self, work: Callable[[], Any]) -> Any:
        request = Request(work, asyncio.get_running_loop().create_future())
        self.under_way.append(request)
        return await request.answer


class Replica:
    """One process: its own loop and its own idea of the time."""

    def __init__(self, server: Server, name: str, clock: Callable[[], float], terms: Terms) -> None:
        kube: Any = server
        self.loop = Loop(clock)
        self.is_suspended = self.is_killed = False
        self.election = Election(
            kube,
            namespace="ops",
            name="specdecode",
            identity=name,
            clock=clock,
            now=lambda: datetime(2026, 11, 23, tzinfo=UTC),
            terms=terms,
        )
        self.life = self.loop.create_task(self._live())

    async def _live(self) -> None:
        try:
            await self.election.acquire()
            await self.election.hold()
        except asyncio.CancelledError:
            if not self.is_killed:
                await self.election.release()
        except LeaseLostError:
            return

    @property
    def may_write(self) -> bool:
        try:
            self.election.check()
        except LeaseLostError:
            return False
        return True

    def turn(self) -> None:
        if not self.is_suspended:
            self.loop.turn()

    def kill(self) -> None:
        """It runs no further; what it sent is still under way."""
        self.is_killed = True
        while not self.life.done():
            self.life.cancel()
            self.loop.turn()
        self.loop.close()


class Histories(RuleBasedStateMachine):
    terms = Terms()

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.server = Server()
        self.born = 0
        self.replicas = [self._new(drift) for drift in (0.0, 5_000.0, -3.0)]
        self.leaders: set[str] = set()

    def _new(self, offset: float) -> Replica:
        self.born += 1
        return Replica(self.server, f"replica-{self.born}", lambda: 10_000 + self.seconds + offset, self.terms)

    def _turn(self) -> None:
        for replica in self.replicas:
            replica.turn()

    @rule(seconds=st.floats(min_value=0.1, max_value=12.0))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds
        self._turn()

    @rule(rounds=st.integers(min_value=1, max_value=30))
    def all_goes_well_for_a_while(self, rounds: int) -> None:
        for _ in range(rounds):
            for request in self.server.under_way:
                request.handle()
                request.deliver(request.outcome)
            self.server.under_way.clear()
            self.seconds += 0.5
            self._turn()
            self.at_most_one_may_write()

    @precondition(lambda self: self.server.under_way)
    @rule(data=st.data())
    def the_server_does_something(self, data: st.DataObject) -> None:
        """Not the oldest first."""
        data.draw(st.sampled_from(self.server.under_way)).handle()

    @precondition(lambda self: self.server.under_way)
    @rule(data=st.data())
    def an_answer_arrives(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.server.under_way))
        request.handle()
        self.server.under_way.remove(request)
        request.deliver(request.outcome)
        self._turn()

    @precondition(lambda self: self.server.under_way)
    @rule(data=st.data())
    def a_connection_breaks(self, data: st.DataObject) -> None:
        """What was sent may still arrive."""
        data.draw(st.sampled_from(self.server.under_way)).deliver(UnavailableError("reset"))
        self._turn()

    @rule(index=st.integers(min_value=0, max_value=2))
    def one_is_suspended_or_wakes_up(self, index: int) -> None:
        self.replicas[index].is_suspended ^= True
        self._turn()

    @rule(index=st.integers(min_value=0, max_value=2))
    def one_is_told_to_stop(self, index: int) -> None:
        self.replicas[index].life.cancel()
        self._turn()

    @rule(index=st.integers(min_value=0, max_value=2), offset=st.floats(min_value=-1000, max_value=1000))
    def one_is_killed_and_starts_anew(self, index: int, offset: float) -> None:
        self.replicas[index].kill()
        self.replicas[index] = self._new(offset)
        self._turn()

    @invariant()
    def at_most_one_may_write(self) -> None:
        writers = [replica.election.identity for replica in self.replicas if replica.may_write]
        assert len(writers) <= 1, f"{writers} may write at once"
        self.leaders.update(writers)

    def teardown(self) -> None:
        """When everything goes well again, one leads."""
        try:
            for index, replica in enumerate(self.replicas):
                replica.is_suspended = False
                replica.turn()
                if replica.life.done():
                    replica.kill()
                    self.replicas[index] = self._new(0.0)
            self.all_goes_well_for_a_while(100)
            assert any(replica.may_write for replica in self.replicas), "nobody leads"
        finally:
            for replica in self.replicas:
                replica.kill()


def played(terms: Terms) -> Callable[[], RuleBasedStateMachine]:
    class WithTerms(Histories):
        pass

    WithTerms.terms = terms
    return WithTerms


def test_at_most_one_may_write_and_in_the_end_one_does() -> None:
    run_state_machine_as_test(played(Terms()), settings=CALM)


def test_a_holder_that_believes_in_its_lease_for_too_long_is_found() -> None:
    """That the histories above are rich enough to find two writers where there can be two."""
    with pytest.raises(AssertionError, match="may write at once"):
        run_state_machine_as_test(played(Terms(renew_seconds=40.0)), settings=QUICK)
