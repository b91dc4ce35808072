"""Four deployments of different kinds, brought by the operator's own library to where it would have brought them: what
it would have applied, and the status that it would have written after three hours of steady traffic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from specdecode.api.resource import SpecDecodeDeployment, read_status
from specdecode.api.vocabulary import Arm, Mode
from specdecode.decide.facts import Measurement, PodFact
from specdecode.engine.version import EngineVersion
from specdecode.judge import Outcome, Prepared, Seen, judge, prepare
from specdecode.manifests.build import Objects, Options
from specdecode.observe.measure import Observer
from specdecode.observe.prometheus import Answer, Lines, Past, Sample, Samples
from specdecode.observe.queries import ARM, DEPLOYMENT, FACT, FAST_WINDOW_SCRAPES, INSTANCE, JOB, MODE, NAME, NAMESPACE
from specdecode.observe.queries import Fact as What
from specdecode.observe.subject import Subject, subject_of
from specdecode.plan.ladder import speculation_of
from specdecode.plan.types import Plan

from .traffic import Line, lines

Body = dict[str, Any]

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = ("llama-70b-h100.yaml", "ngram-summaries.yaml", "strict-latency.yaml", "eagle3.yaml")
SCRAPE_SECONDS = 15.0
_HOURS = 3
"""So long ago they began; the operator lets nobody rest who has not been settled for an hour."""
_NEWEST_MINUTES = 15
_BLOCK_TOKENS = 16


def kinds() -> tuple[Body, ...]:
    """The resources of the examples with one replica each, as a person writes them."""
    found = [yaml.safe_load((EXAMPLES / name).read_text()) for name in FILES]
    for body in found:
        body["spec"]["replicas"] = 1
    return tuple(found)


@dataclass(frozen=True)
class Converged:
    """One deployment with nothing left to do."""

    resource: SpecDecodeDeployment
    plan: Plan
    objects: Objects
    mode: Mode
    status: Body
    lines: tuple[Line, ...]
    """What its engine exposes."""


class _Steady:
    """A Prometheus that knows one pod, and that no time has passed since its last scrape."""

    def __init__(self, subject: Subject, exposed: tuple[Line, ...], start: datetime) -> None:
        group = {NAMESPACE: subject.key[0], DEPLOYMENT: subject.key[1], MODE: subject.mode.value, ARM: Arm.MAIN.value}
        self._group = group
        self._pod = group | {JOB: "vllm", INSTANCE: "pod"}
        self._lines = exposed
        self._start = start

    async def query(self, promql: str, *, at: datetime) -> Answer:
        return self._state() if f"count by ({NAMESPACE}" in promql else self._counters(at)

    async def query_range(self, promql: str, *, start: float, end: float, step_seconds: float) -> Past:
        del promql, start, end, step_seconds
        return Lines(())

    def _state(self) -> Samples:
        caches = (line.labels for line in self._lines if "num_gpu_blocks" in line.labels)
        found = [Sample(self._group | {FACT: What.TARGETS}, 1.0), Sample(self._group | {FACT: What.UP}, 1.0)]
        found += [Sample(self._group | dict(labels) | {FACT: What.CACHE}, 1.0) for labels in caches]
        return Samples(tuple(found))

    def _counters(self, at: datetime) -> Samples:
        seconds = (at - self._start).total_seconds()
        found = [Sample(self._pod | {FACT: What.SCRAPED_AT}, at.timestamp())]
        for line in self._lines:
            labels = {label: value for label, value in line.labels.items() if label == "le"}
            found.append(Sample(self._pod | {NAME: line.name} | labels, line.at(seconds)))
        return Samples(tuple(found))


def _moments(now: datetime) -> tuple[datetime, ...]:
    """Looks of the operator: at every scrape at the beginning and at the end, and now and then in between."""
    begin, newest = now - timedelta(hours=_HOURS), now - timedelta(minutes=_NEWEST_MINUTES)
    scrapes = [timedelta(seconds=SCRAPE_SECONDS) * count for count in range(int(_NEWEST_MINUTES * 60 / SCRAPE_SECONDS))]
    minutes = range(_NEWEST_MINUTES, _HOURS * 60 - _NEWEST_MINUTES, 2)
    return (
        *(begin + each for each in scrapes),
        *(begin + timedelta(minutes=count) for count in minutes),
        *(newest + each for each in scrapes),
    )


def rolled_out(deployment: Mapping[str, Any]) -> Body:
    """The status that the Deployment controller gives a Deployment whose pods are all ready."""
    count = deployment["spec"].get("replicas", 1)
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
    return {"observedGeneration": deployment["metadata"]["generation"], **counts}


class _Walk:
    """One deployment through three hours."""

    def __init__(self, body: Body, now: datetime) -> None:
        self._body = body
        self._now = now
        self.prepared: Prepared = prepare(body, Options())
        resource, plan = self.prepared.resource, self.prepared.plan
        assert resource is not None, f"{self.prepared.refusal}"
        assert plan is not None, f"{self.prepared.refusal}"
        self.resource, self.plan = resource, plan
        self.version = EngineVersion.parse(plan.engine_version)
        self.mode = plan.requested_mode
        active = speculation_of(resource.spec, self.mode)
        tokens = 0 if active is None else active.num_speculative_tokens
        names = subject_of(resource, self.mode, self.version).metric_names
        blocks = plan.requested.kv_cache_tokens // _BLOCK_TOKENS
        self.lines = lines(names, self.version, tokens, blocks)
        self.status: Body = {}
        self._deployment: Body | None = None

    def judge(self, measurement: Measurement, moment: datetime) -> Outcome:
        """One look, with everything applied and rolled out that the looks before asked for."""
        body = self._body | {"status": self.status}
        pods = (PodFact("pod", self.mode, True, False, False, 0, self._now - timedelta(hours=_HOURS)),)
        window = FAST_WINDOW_SCRAPES * SCRAPE_SECONDS
        seen = Seen(body, self._deployment, pods, True, measurement, moment, None, window)
        outcome = judge(prepare(body, Options()), seen, moment)
        self.status = outcome.status.to_wire()
        if outcome.apply is not None:
            metadata = outcome.apply.deployment["metadata"] | {"uid": "child", "generation": 1}
            self._deployment = outcome.apply.deployment | {"metadata": metadata}
            self._deployment["status"] = rolled_out(self._deployment)
        return outcome

    async def run(self) -> Converged:
        client = _Steady(subject_of(self.resource, self.mode, self.version), self.lines, self._now)
        observer = Observer(client, scrape_interval_seconds=SCRAPE_SECONDS)
        quiet = 0
        for moment in _moments(self._now):
            resource = self.resource.model_copy(update={"status": read_status({"status": self.status})})
            subject = subject_of(resource, self.mode, self.version)
            measured = await observer.tick([subject], moment)
            quiet = quiet + 1 if self.judge(measured[subject.key], moment).is_quiet else 0
        assert quiet > 1, f"{self.resource.key} does not come to rest: {self.status}"
        objects = self.prepared.objects[self.mode]
        return Converged(self.resource, self.plan, objects, self.mode, self.status, self.lines)


async def walked(body: Body, now: datetime) -> Converged:
    """A resource as the API server stored it, after three hours."""
    return await _Walk(body, now).run()
