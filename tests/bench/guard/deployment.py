"""One simulated deployment under the judge of production: pods and their counters, scrapes, ticks and restarts.

Its pods run with speculation and without it at the same time, as far as the arrays go; the mode that runs decides
which of both is scraped. A step costs a rollout: pod after pod is away, and nothing is measured.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from specdecode.api.resource import Rejection, SpecDecodeDeployment, parse
from specdecode.api.status import BaselineStatus, OffBand, OffBaseline, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Arm, Method, Mode
from specdecode.backtest.replay import Replay
from specdecode.decide.decision import Decision, Finding, Step
from specdecode.decide.facts import Availability, Measurement
from specdecode.decide.wording import duration_text
from specdecode.engine.metrics import metric_names
from specdecode.observe.follow import Followed
from specdecode.observe.queries import Fact
from specdecode.observe.subject import Subject, subject_of
from specdecode.observe.track import Layout, Reading, standard_layout
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

from .traffic import DRAFT_LENGTH, Floats
from .world import EDGES, ENGINE, SCRAPE_SECONDS, STEP_TIME, Increments

START = datetime(2026, 11, 1, tzinfo=UTC)
REPLICAS = 2
START_SECONDS = 120.0
"""One pod from its end to its first answer; an 8B takes 82 to 294 s on an L40S."""
CONTEXT_TOKENS = 500.0
_BANDS = (0, 1, 2, 4, 8, 16, 32, 64, 128)


def off_step_seconds(running: float = 1.0) -> float:
    """Without speculation, few requests at once."""
    return float(STEP_TIME.off(np.array(running), CONTEXT_TOKENS))


def _speculation(method: Method) -> dict[str, Any]:
    asked: dict[str, Any] = {"method": str(method), "numSpeculativeTokens": DRAFT_LENGTH}
    if method is Method.EAGLE3:
        asked["draft"] = {"name": "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B"}
    return asked


def _body(guard: Mapping[str, Any], method: Method) -> dict[str, Any]:
    return {
        "apiVersion": "specdecode.io/v1alpha1",
        "kind": "SpecDecodeDeployment",
        "metadata": {"name": "simulated", "namespace": "bench", "uid": "simulated", "generation": 1},
        "spec": {
            "replicas": REPLICAS,
            "model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
            "engine": {"image": f"vllm/vllm-openai:v{ENGINE}", "maxModelLen": 2048, "maxNumSeqs": 256},
            "accelerator": {"product": "NVIDIA-H100-80GB-HBM3"},
            "speculation": _speculation(method),
            "guard": dict(guard),
        },
    }


def resource_of(guard: Mapping[str, Any], method: Method = Method.EAGLE3) -> SpecDecodeDeployment:
    """An 8B target with an EAGLE head, or n-grams, on two H100; no other fallback than `Off`."""
    parsed = parse(_body(guard, method))
    assert not isinstance(parsed, Rejection), str(parsed)
    return parsed


@cache
def plan_of(method: Method) -> Plan:
    """The plan of `resource_of`; thresholds of the guard do not enter it."""
    plan = make_plan(resource_of({}, method))
    assert isinstance(plan, Plan), str(plan)
    return plan


def known_baseline(plan: Plan) -> BaselineStatus:
    """What the deployment did without speculation, at every load, as the step times say."""
    bands = []
    for running in _BANDS:
        step = duration_text(float(STEP_TIME.off(np.array(running, dtype=np.float64), CONTEXT_TOKENS)))
        bands.append(OffBand(running_requests=running, tpot_mean=step, step_mean=step, at=START))
    return BaselineStatus(off=OffBaseline(key=plan.baseline_key, bands=tuple(bands)))


@cache
def layout() -> Layout:
    """Of the readings, with the edges of the engine's version."""
    return standard_layout(metric_names(ENGINE, Method.EAGLE3), EDGES, DRAFT_LENGTH)


@dataclass(frozen=True)
class Tape:
    """What one pod would say at every scrape, running one mode since the beginning."""

    counters: Floats
    """Shape (scrapes + 1, columns): cumulative, the first row before the first scrape."""
    running: Floats
    """Shape (scrapes + 1,)."""


def _histogram(tape: Floats, fact: str, counts: Floats, sums: Floats) -> None:
    place = layout().histograms[fact]
    tape[1:, place.buckets] = np.cumsum(counts, axis=1)
    tape[1:, place.sum] = sums
    tape[1:, place.count] = counts.sum(axis=1)


def tape_of(increments: Increments, mode: Mode) -> Tape:
    """Cumulative counters. Without speculation the engine has no counters of speculation."""
    index, scrapes = layout().index, len(increments.drafts)
    tape = np.zeros((scrapes + 1, len(layout().columns)))
    facts = {
        Fact.DRAFTS: increments.drafts,
        Fact.DRAFT_TOKENS: increments.draft_tokens,
        Fact.ACCEPTED_TOKENS: increments.accepted_tokens,
        Fact.GENERATION_TOKENS: increments.generation_tokens,
        Fact.REQUESTS: increments.requests,
        Fact.STEP_SUM: increments.step_seconds_sum,
        Fact.STEP_COUNT: increments.step_count,
    }
    for fact, values in facts.items():
        tape[1:, index[fact]] = values
    _histogram(tape, Fact.TPOT, increments.tpot, increments.tpot_sum)
    _histogram(tape, Fact.TTFT, increments.ttft, increments.ttft_sum)
    _histogram(tape, Fact.E2E, increments.e2e, increments.e2e_sum)
    cumulative = np.cumsum(tape, axis=0)
    if mode is Mode.OFF:
        cumulative[:, layout().speculation] = np.nan
    return Tape(cumulative, np.concatenate(((0.0,), increments.running)))


@dataclass(frozen=True)
class Timing:
    """When pods are scraped and the operator looks, in seconds after each multiple of the scrape interval."""

    scrape_phases: tuple[float, ...]
    """By pod."""
    tick_phase: float

    @staticmethod
    def drawn(rng: np.random.Generator, pods: int = REPLICAS) -> "Timing":
        """Everything anywhere."""
        return Timing(tuple((SCRAPE_SECONDS * rng.random(pods)).tolist()), float(SCRAPE_SECONDS * rng.random()))


@dataclass(frozen=True)
class Moved:
    """One step of the mode."""

    at: float
    """Seconds since the beginning."""
    mode: Mode
    reason: str
    message: str


@dataclass
class Played:
    """What happened."""

    moves: list[Moved] = field(default_factory=list)
    advice: dict[str, int] = field(default_factory=dict)
    """Ticks by reason of a finding."""
    modes: list[Mode] = field(default_factory=list)
    """By tick: what serves."""
    pods_up: list[int] = field(default_factory=list)
    """By tick."""
    words: list[Availability] = field(default_factory=list)
    """By tick."""


def moment(seconds: float) -> datetime:
    """In the calendar of the operator, whole seconds as the loop reads them."""
    return START + timedelta(seconds=int(seconds))


class Deployment:
    """Plays tapes to the judge, tick by tick. `tapes` holds one tape per pod for each mode that may run."""

    def __init__(
        self,
        tapes: Mapping[Mode, Sequence[Tape]],
        timing: Timing,
        *,
        guard: Mapping[str, Any] | None = None,
        method: Method = Method.EAGLE3,
        has_baseline: bool = True,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self.resource, self.plan = resource_of(guard or {}, method), plan_of(method)
        if has_baseline:
            status = SpecDecodeDeploymentStatus(baseline=known_baseline(self.plan))
            self.resource = self.resource.model_copy(update={"status": status})
        self.played = Played()
        self.mode = self.plan.requested_mode
        self._tapes, self._timing, self._start_seconds = tapes, timing, start_seconds
        self._replay = Replay(self.resource, self.plan, scrape_interval_seconds=SCRAPE_SECONDS)
        self._followed: dict[Mode, Followed] = {}
        self._subject: tuple[SpecDecodeDeploymentStatus, Mode, Subject] | None = None
        self._since = [0] * len(timing.scrape_phases)
        """By pod, the scrape from which on it counts: its start."""
        self.origin_seconds = 0.0
        """When its tapes begin."""
        self._generation = 0
        self._mode_before = self.mode
        self._rolled_out_at = 0.0
        self.measurement = Measurement(Availability.NO_DATA, "nothing was measured yet")
        """The last one."""
        self.measure: Callable[[int, float], Measurement] = self._measured
        """How a tick is measured at a moment in Unix seconds."""

    @property
    def ticks(self) -> int:
        """How many the tapes last for."""
        return len(self._tapes[self.plan.requested_mode][0].running) - 2

    def tick_at(self, tick: int) -> float:
        """Seconds since the beginning."""
        return self.origin_seconds + (tick + 1) * SCRAPE_SECONDS + self._timing.tick_phase

    def go_on_from(self, other: "Deployment") -> None:
        """Begin with everything that is known of another deployment at the end of its tapes, as if its pods had been
        replaced without anybody's noticing.
        """
        self._replay, self._followed = copy(other._replay), deepcopy(other._followed)
        self._generation = other._generation + 1
        self.origin_seconds = other.tick_at(other.ticks + 1)

    def subject(self) -> Subject:
        """What is to be measured, as status says now."""
        known = self._replay.status, self.mode
        if self._subject is None or self._subject[0] is not known[0] or self._subject[1] is not known[1]:
            resource = self.resource.model_copy(update={"status": known[0]})
            self._subject = (*known, subject_of(resource, self.mode, ENGINE))
        return self._subject[2]

    def _follower(self) -> Followed:
        subject = self.subject()
        followed = self._followed.get(self.mode)
        if followed is None:
            followed = self._followed[self.mode] = Followed(subject, SCRAPE_SECONDS)
        followed.subject = subject
        return followed

    def readings(self, tick: int) -> dict[str, Reading]:
        """What the newest scrapes of the pods that run say, by instance."""
        readings = {}
        for pod, (tape, phase) in enumerate(zip(self._tapes[self.mode], self._timing.scrape_phases, strict=True)):
            scrape = tick + 1 if phase <= self._timing.tick_phase else tick
            if scrape <= self._since[pod]:
                continue
            counters = tape.counters[scrape] - tape.counters[self._since[pod]]
            at = START.timestamp() + self.origin_seconds + scrape * SCRAPE_SECONDS + phase
            readings[f"pod-{self._generation}-{pod}"] = Reading(at, counters, float(tape.running[scrape]))
        return readings

    def _measured(self, tick: int, now: float) -> Measurement:
        followed, readings = self._follower(), self.readings(tick)
        followed.take(Arm.MAIN, layout(), readings, now)
        ages = [now - reading.at for reading in readings.values()]
        return followed.measurement(now, pods_up=len(readings), age_seconds=max(ages, default=0.0))

    def _serving(self, at: float) -> tuple[Mode, int]:
        """The mode and number of the pods that answer: one after another is replaced."""
        pods, left_seconds = len(self._timing.scrape_phases), self._rolled_out_at - at
        if left_seconds <= 0:
            return self.mode, pods
        is_first = left_seconds > (pods - 1) * self._start_seconds
        return self._mode_before if is_first else self.mode, pods - 1

    def step(self, tick: int) -> Decision:
        """One look of the operator."""
        at = self.tick_at(tick)
        is_rolled_out = at >= self._rolled_out_at
        now = START.timestamp() + at
        measurement = (
            self.measure(tick, now)
            if is_rolled_out
            else Measurement(Availability.NO_DATA, "the pods are being replaced", self.mode)
        )
        self.measurement = measurement
        decision = self._replay.step(moment(at), measurement, self.mode, is_rolled_out=is_rolled_out)
        self._note(at, measurement, decision.findings)
        if decision.mode is not self.mode:
            self._move(tick, at, decision)
        return decision

    def _note(self, at: float, measurement: Measurement, findings: Sequence[Finding]) -> None:
        mode, pods_up = self._serving(at)
        self.played.modes.append(mode)
        self.played.pods_up.append(pods_up)
        self.played.words.append(measurement.availability)
        for finding in findings:
            self.played.advice[finding.reason] = self.played.advice.get(finding.reason, 0) + 1

    def _move(self, tick: int, at: float, decision: Decision) -> None:
        assert decision.step is not Step.KEEP, "the mode changes by a step"
        self.played.moves.append(Moved(at, decision.mode, decision.reason, decision.message))
        self._mode_before, self.mode = self.mode, decision.mode
        self._generation += 1
        pods = len(self._timing.scrape_phases)
        self._rolled_out_at = at + pods * self._start_seconds
        for pod in range(pods):
            self.restart(tick, pod, pods * self._start_seconds)

    def restart(self, tick: int, pod: int, seconds: float) -> None:
        """The engine of one pod begins anew: its counters too, and no scrape answers meanwhile."""
        self._since[pod] = min(self.ticks + 1, tick + 1 + int(seconds / SCRAPE_SECONDS))

    def play(self, ticks: int | None = None) -> Played:
        """Every tick, or the first so many."""
        for tick in range(self.ticks if ticks is None else ticks):
            self.step(tick)
        return self.played
