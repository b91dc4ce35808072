"""What a sweep asks: endpoints that run already, in turns, or engines that it starts itself, one after the other."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from specdecode.api.resource import Problem
from specdecode.sweep.counters import version_of
from specdecode.sweep.endpoint import FIELD, Endpoint, Identity
from specdecode.sweep.journal import BASELINE, MAIN, Side
from specdecode.sweep.launcher import Command, StartedEngine
from specdecode.sweep.load import EndedError
from specdecode.sweep.options import OFF
from specdecode.sweep.run import Run, Subject
from specdecode.sweep.variants import Variant

SPECULATING = "Speculating"
"""The mode of an engine that speculates and was not told which mode it is."""
UNKNOWN = "Unknown"
"""The mode of an engine that shows no metrics and was not told."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Address:
    """An endpoint that runs already, as the user names it."""

    role: str
    url: str
    field: str = FIELD
    key: str = ""
    metrics_url: str = ""
    model: str = ""
    mode: str = ""
    """Told by the user; empty: found out."""
    num_speculative_tokens: int = 0
    """Told by the user; 0: found out."""
    timeout_seconds: float = 120.0

    @asynccontextmanager
    async def opened(self, version: str = "") -> AsyncIterator[Endpoint]:
        """The endpoint, while the block runs."""
        endpoint = Endpoint(
            self.url,
            key=self.key,
            metrics_url=self.metrics_url,
            timeout_seconds=self.timeout_seconds,
            field=self.field,
            version=version,
        )
        async with endpoint:
            yield endpoint


@dataclass(frozen=True)
class Known:
    """An endpoint that runs already, and what is known of it."""

    address: Address
    identity: Identity
    mode: str
    num_speculative_tokens: int
    notes: tuple[str, ...] = ()

    @property
    def side(self) -> Side:
        """For the journal."""
        return Side(self.address.url, self.identity.model, self.identity.version)


async def look_at(address: Address) -> Known | Problem:
    """Who is at an address, and whether it is what it was said to be."""
    async with address.opened() as endpoint:
        identity = await endpoint.identify(address.model)
    return identity if isinstance(identity, Problem) else _known(address, identity)


def _known(address: Address, identity: Identity) -> Known | Problem:
    speculates = identity.speculates
    if address.role == BASELINE:
        if speculates:
            return Problem(address.field, address.url, "speculates; name an engine without --speculative-config")
        return Known(address, identity, OFF, 0)
    if speculates is None:
        mode = address.mode or UNKNOWN
        tokens = 0 if mode == OFF else address.num_speculative_tokens
        note = f"/metrics of {address.url} shows no series of vLLM: acceptance is not measured; --metrics-url names it"
        return Known(address, identity, mode, tokens, (note,))
    if not speculates:
        note = (
            f"/metrics of {address.url} has no vllm:spec_decode series: the engine does not speculate; times are "
            "measured all the same"
        )
        return Known(address, identity, OFF, 0, (note,))
    if address.mode == OFF:
        return Problem("--modes", OFF, f"is not what {address.url} runs: it speculates")
    assert identity.counters is not None, "it speculates, as its counters say"
    tokens = address.num_speculative_tokens or identity.counters.num_speculative_tokens
    return Known(address, identity, address.mode or SPECULATING, tokens)


def differences(main: Known, baseline: Known) -> tuple[str, ...]:
    """What makes two endpoints hard to compare, each in one sentence."""
    ours, theirs = main.identity, baseline.identity
    found = []
    if ours.model != theirs.model:
        found.append(f"the baseline serves {theirs.model}, not {ours.model}: compare only what is the same model")
    if ours.version and theirs.version and ours.version != theirs.version:
        found.append(f"the baseline is vLLM {theirs.version}, not {ours.version}: their difference counts too")
    return tuple(found)


async def measure_running(run: Run, known: Sequence[Known]) -> tuple[str, ...]:
    """Measure endpoints in turns. What ended it early, if something did."""
    async with AsyncExitStack() as stack:
        subjects = []
        for each in known:
            endpoint = await stack.enter_async_context(each.address.opened(each.identity.version))
            role = each.address.role
            subjects.append(Subject(role, endpoint, each.identity, each.mode, each.num_speculative_tokens))
        try:
            await run.measure(subjects)
        except EndedError as error:
            return (str(error),)
    return ()


Say = Callable[[str], None]


async def measure_started(
    run: Run, engines: Sequence[tuple[Variant, Command]], logs: Path, say: Say
) -> tuple[str, ...]:
    """Start, measure and stop one engine after the other. What went wrong, if something did: the next goes on."""
    errors = []
    for variant, command in engines:
        role = role_of(variant)
        cells = run.grid.cells(str(variant.plan.mode), variant.num_speculative_tokens)
        if all(run.writer.journal.has(role, cell) for cell in cells):
            continue
        say(f"{variant.name}: the engine starts")
        try:
            async with StartedEngine(command, logs / f"engine-{variant.name}.log") as engine:
                await _measure_one(run, variant, engine, say)
        except EndedError as error:
            errors.append(f"{variant.name}: {error}")
            say(errors[-1])
    return tuple(errors)


def role_of(variant: Variant) -> str:
    """The engine without speculation is what the others are compared with."""
    return MAIN if variant.num_speculative_tokens else BASELINE


async def _measure_one(run: Run, variant: Variant, engine: StartedEngine, say: Say) -> None:
    address = Address(role_of(variant), engine.url, field=variant.name, timeout_seconds=run.grid.timeout_seconds)
    async with address.opened() as endpoint:
        identity = await endpoint.identify()
        if isinstance(identity, Problem):
            raise EndedError(str(identity))
        if str(version_of(identity.version)) != variant.engine_version:
            say(f"{variant.name}: vLLM {identity.version} runs, and the flags are for {variant.engine_version}")
        mode, tokens = str(variant.plan.mode), variant.num_speculative_tokens
        try:
            await run.measure([Subject(address.role, endpoint, identity, mode, tokens)])
        except EndedError as error:
            words = f"; the engine's last words: {engine.said()}" if await engine.has_ended() else ""
            raise EndedError(f"{error}{words}") from None


def run_until_done(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run to the end, or until somebody stops it: raises KeyboardInterrupt on SIGINT and SIGTERM alike, after
    everything that was started has been stopped.
    """

    async def stoppable() -> _Result:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
