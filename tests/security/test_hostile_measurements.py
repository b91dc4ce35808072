"""A Prometheus whose answers are well formed and whose numbers and labels are lies: nothing is raised out of a tick, in
which one exception would end the process, nor out of the judgement, and what status says stays what its schema allows.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from builders import NOW
from fuzz.laws import check_status
from gitops.states import Walk
from observe.engines import NAMES, T0, Engine, Prometheus
from security.hostile import HOSTILE

from specdecode.api.resource import read_status
from specdecode.api.vocabulary import Mode
from specdecode.decide.facts import Availability, Measurement
from specdecode.observe.measure import Observer
from specdecode.observe.prometheus import Answer, Failure, Past, Sample, read_answer, read_past
from specdecode.observe.subject import Subject

KEY = ("serving", "llama-70b")
SUBJECTS = (
    Subject(KEY, Mode.QUANTIZED_DRAFT, NAMES, 300.0, num_speculative_tokens=5, spec_hash="a"),
    Subject(KEY, Mode.QUANTIZED_DRAFT, NAMES, 300.0, num_speculative_tokens=5, spec_hash="a", settled_since=T0 - 7200),
)
ODD = (
    *(0.0, -0.0, -1.0, 0.5, 1e9, 1e15, -1e15, 1e-320, 1e18, -1e18, 1e300, -1e300, 1.7976931348623157e308),
    *(T0, T0 * 1000, float("nan"), float("inf"), float("-inf")),
)
TEXTS = [text for text in HOSTILE if "\ud800" not in text]
WORDS = ("", "main", "control", "Off", "Draft", "QuantizedDraft", "NaN", "+Inf", "0.025", "-1", "9" * 400, "16", "0")


def _answer(kind: str, series: list[dict[str, Any]]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": series}}).encode()


@dataclass
class Liar:
    """Tells the truth, but for so many of a hundred labels, values and series."""

    truth: Prometheus
    rng: random.Random
    percent: int

    def _lies(self) -> bool:
        return self.rng.randrange(100) < self.percent

    def _labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        told = dict(labels)
        for name in labels:
            if self._lies():
                told[name] = self.rng.choice((*WORDS, *TEXTS))
            elif self._lies():
                del told[name]
        return told

    def _number(self, value: float) -> float:
        return self.rng.choice(ODD) if self._lies() else value

    async def query(self, promql: str, *, at: datetime) -> Answer:
        answer = await self.truth.query(promql, at=at)
        if isinstance(answer, Failure):
            return answer
        told = [Sample(self._labels(each.labels), self._number(each.value)) for each in answer.samples]
        told += [self.rng.choice(told) for _ in told if self._lies()]
        self.rng.shuffle(told)
        series = [{"metric": each.labels, "value": [at.timestamp(), repr(each.value)]} for each in told]
        return read_answer(200, _answer("vector", series))

    async def query_range(self, promql: str, *, start: float, end: float, step_seconds: float) -> Past:
        past = await self.truth.query_range(promql, start=start, end=end, step_seconds=step_seconds)
        if isinstance(past, Failure):
            return past
        series = [
            {
                "metric": self._labels(line.labels),
                "values": [
                    [moment, repr(self._number(value))]
                    for moment, value in zip(line.at.tolist(), line.values.tolist(), strict=True)
                ],
            }
            for line in past.lines
        ]
        series += [self.rng.choice(series) for _ in series if self._lies()]
        return read_past(200, _answer("matrix", series))


async def measured(seed: int, percent: int) -> list[Measurement]:
    """What two minutes of lies make of one deployment."""
    engines = (Engine(caches=(("3640", "16"),)), Engine(instance="10.0.0.2:8000", phase=11.0))
    liar = Liar(Prometheus(engines), random.Random(seed), percent)
    observer = Observer(liar, scrape_interval_seconds=15.0)
    subject = SUBJECTS[seed % len(SUBJECTS)]
    ticks = [await observer.tick((subject,), NOW - timedelta(seconds=15.0 * left)) for left in range(8, -1, -1)]
    return [tick[KEY] for tick in ticks]


@pytest.mark.parametrize("percent", [1, 5, 30, 100])
async def test_nothing_is_raised_and_nothing_odd_is_written(percent: int) -> None:
    words = set()
    for seed in range(12):
        walk = Walk().serving()
        for measurement in await measured(seed, percent):
            words.add(measurement.availability)
            walk.later(minutes=5).look(measurement=replace(measurement, batches=()))
            check_status(read_status(walk.body))
    assert Availability.MEASURED in words or percent > 1
