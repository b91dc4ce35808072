"""The traffic generator: what it counts, whom it asks, and that nothing but loopback is ever asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from rehearsal import traffic as module
from rehearsal.traffic import MAX_CONCURRENCY, Questions, Traffic


class Pod:
    """A server that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.cuts = False
        """Whether it closes the connection instead of answering."""
        self.seconds = 0.002
        self.asked: list[dict[str, Any]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.address = ""
        self._runner: web.AppRunner

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post("/v1/completions", self._answer)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        if self.cuts:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({}, status=self.status)


@pytest.fixture
async def pods() -> AsyncIterator[tuple[Pod, Pod]]:
    pair = (Pod(), Pod())
    for pod in pair:
        await pod.start()
    yield pair
    for pod in pair:
        await pod.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES_SECONDS", (0.01, 0.01))


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  counters tell nobody that they changed
            await asyncio.sleep(0.01)


async def test_answers_are_counted(pods: tuple[Pod, Pod]) -> None:
    async with Traffic(lambda: [pods[0].address], concurrency=4) as traffic:
        await _until(lambda: traffic.ok >= 20)
    assert (traffic.failed, traffic.retried) == (0, 0)
    assert len(traffic.latencies_seconds) == traffic.ok
    assert min(traffic.latencies_seconds) >= pods[0].seconds


async def test_requests_are_spread_over_the_ready_pods(pods: tuple[Pod, Pod]) -> None:
    async with Traffic(lambda: [pod.address for pod in pods], concurrency=8) as traffic:
        await _until(lambda: traffic.ok >= 200)
    first, second = (len(pod.asked) for pod in pods)
    assert first == pytest.approx(second, rel=0.3)
    assert [pod.most_at_once for pod in pods] == [4, 4]


async def test_concurrency_is_raised_and_lowered(pods: tuple[Pod, Pod]) -> None:
    pod = pods[0]
    async with Traffic(lambda: [pod.address]) as traffic:
        await asyncio.sleep(0.05)
        assert pod.asked == [], "0 is idle"
        traffic.concurrency = 6
        await _until(lambda: pod.most_at_once == 6)
        traffic.concurrency = 0
        # What was on its way when the number changed still arrives.
        await _until(lambda: pod.at_once == 0 and len(pod.asked) == traffic.ok)
        await asyncio.sleep(0.1)
        await _until(lambda: pod.at_once == 0 and len(pod.asked) == traffic.ok)
        answered = len(pod.asked)
        await asyncio.sleep(0.1)
        assert len(pod.asked) == answered == traffic.ok, "running requests end, and no new one begins"
        traffic.concurrency = 2
        await _until(lambda: pod.at_once == 2)
    assert pod.most_at_once == 6


async def test_quick_changes_of_concurrency_leave_as_many_workers_as_asked(pods: tuple[Pod, Pod]) -> None:
    pod = pods[0]
    async with Traffic(lambda: [pod.address], concurrency=3) as traffic:
        for concurrency in (0, 3, 1, 3):
            traffic.concurrency = concurrency
        await _until(lambda: traffic.ok >= 20)
    assert pod.most_at_once == 3


async def test_temperature_and_length_reach_the_engine(pods: tuple[Pod, Pod]) -> None:
    pod = pods[0]
    async with Traffic(lambda: [pod.address], concurrency=1) as traffic:
        await _until(lambda: pod.asked)
        traffic.temperature, traffic.max_tokens = 0.8, 7
        await _until(lambda: pod.asked[-1] != pod.asked[0])
    assert (pod.asked[0]["temperature"], pod.asked[0]["max_tokens"]) == (0.0, 30)
    assert (pod.asked[-1]["temperature"], pod.asked[-1]["max_tokens"]) == (0.8, 7)


async def test_a_share_of_the_requests_is_hot(pods: tuple[Pod, Pod]) -> None:
    pod = pods[0]
    async with Traffic(lambda: [pod.address], concurrency=4) as traffic:
        traffic.hot_share, traffic.hot_temperature = 0.5, 1.5
        await _until(lambda: {asked["temperature"] for asked in pod.asked} == {0.0, 1.5})


def _unavailable(pod: Pod) -> None:
    pod.status = 503


def _cuts(pod: Pod) -> None:
    pod.cuts = True


def _cannot_be_reached(pod: Pod) -> None:
    pod.address = "127.0.0.1:9"


@pytest.mark.parametrize("goes_away", [_unavailable, _cuts, _cannot_be_reached])
async def test_a_pod_that_goes_away_costs_no_request(pods: tuple[Pod, Pod], goes_away: Callable[[Pod], None]) -> None:
    goes_away(pods[0])
    async with Traffic(lambda: [pod.address for pod in pods], concurrency=4) as traffic:
        await _until(lambda: traffic.ok >= 20)
    assert traffic.failed == 0
    assert traffic.retried > 0


@pytest.mark.usefixtures("impatient")
async def test_a_request_that_nobody_answers_has_failed(pods: tuple[Pod, Pod]) -> None:
    pods[0].status = 503
    async with Traffic(lambda: [pods[0].address], concurrency=1) as traffic:
        await _until(lambda: traffic.failed)
        assert (traffic.ok, traffic.failed, traffic.retried) == (0, 1, 2)
        pods[0].status = 200
        await _until(lambda: traffic.ok)
    assert traffic.failed == 1


async def test_a_request_that_is_refused_is_not_sent_again(pods: tuple[Pod, Pod]) -> None:
    pods[0].status = 400
    async with Traffic(lambda: [pods[0].address], concurrency=1) as traffic:
        await _until(lambda: traffic.failed == 2)
    assert (traffic.ok, traffic.retried) == (0, 0)


async def test_without_a_ready_pod_workers_wait(pods: tuple[Pod, Pod]) -> None:
    ready: list[str] = []
    async with Traffic(lambda: ready, concurrency=2) as traffic:
        await asyncio.sleep(0.3)
        assert (traffic.ok, traffic.failed) == (0, 0)
        ready.append(pods[0].address)
        await _until(lambda: traffic.ok >= 2)
        assert traffic.failed == 0


async def test_leaving_ends_what_runs(pods: tuple[Pod, Pod]) -> None:
    pods[0].seconds = 60
    async with asyncio.timeout(5):
        async with Traffic(lambda: [pods[0].address], concurrency=3) as traffic:
            await _until(lambda: pods[0].at_once == 3)
    assert (traffic.ok, traffic.failed) == (0, 0)


@pytest.mark.parametrize("address", ["10.0.0.1:80", "192.168.0.1:8000", "localhost:80", "[::1]:80", "example.com:80"])
async def test_nothing_but_loopback_is_asked(address: str) -> None:
    with pytest.raises(ValueError, match=r"loopback|IPv4|octet|Expected"):
        async with Traffic(lambda: [address], concurrency=1) as traffic:
            await asyncio.sleep(0.05)
    assert (traffic.ok, traffic.failed) == (0, 0)


@pytest.mark.parametrize("concurrency", [-1, MAX_CONCURRENCY + 1])
def test_concurrency_is_bounded(concurrency: int) -> None:
    with pytest.raises(ValueError, match="0 to 256 are possible"):
        Traffic(list, concurrency=concurrency)


async def test_users_ask_different_things_of_a_named_model_with_seeds_of_their_own(pods: tuple[Pod, Pod]) -> None:
    pod = pods[0]
    questions = Questions(prompts=("one", "two", "three"), model="/models/target", is_seeded=True)
    async with Traffic(lambda: [pod.address], concurrency=2, questions=questions) as traffic:
        await _until(lambda: traffic.ok >= 60)
    assert {body["prompt"] for body in pod.asked} == {"one", "two", "three"}
    assert {body["model"] for body in pod.asked} == {"/models/target"}
    assert len({body["seed"] for body in pod.asked}) > 50


async def test_one_who_says_nothing_of_model_and_seed_sends_neither(pods: tuple[Pod, Pod]) -> None:
    pod = pods[0]
    async with Traffic(lambda: [pod.address], concurrency=1) as traffic:
        await _until(lambda: traffic.ok >= 3)
    assert {"model", "seed"}.isdisjoint(pod.asked[0])


async def test_users_who_think_ask_less_often(pods: tuple[Pod, Pod]) -> None:
    pod = pods[0]
    async with Traffic(lambda: [pod.address]) as traffic:
        traffic.pause_seconds, traffic.concurrency = 0.2, 1
        await asyncio.sleep(0.5)
    assert 1 <= len(pod.asked) <= 3
