"""What the operator's two queries answer, from the last scrape."""

import json
import re
from collections import defaultdict
from datetime import datetime

from prometheus_client.samples import Sample as Scraped

from specdecode.observe.cache import BLOCK_SIZE, NUM_GPU_BLOCKS
from specdecode.observe.prometheus import Answer, Lines, Past, Sample, Samples
from specdecode.observe.queries import BOUND, FACT, GROUP, NAME, POD, TEMPERATURE, Fact
from specdecode.telemetry import Metrics

_NAMES = re.compile(r'__name__=~("(?:[^"\\]|\\.)*")')
_CACHE = "vllm:cache_config_info"


def _of(sample: Scraped, labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The labels that a `by` keeps."""
    return tuple((label, sample.labels[label]) for label in labels if sample.labels.get(label))


class Eyes:
    """A Prometheus client whose server is this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._at = 0.0
        self._samples: list[Scraped] = []

    def begin(self, at: float) -> None:
        """A scrape begins, at a Unix time."""
        self._at, self._samples = at, []

    def see(self, sample: Scraped) -> None:
        """One sample of it."""
        self._samples.append(sample)

    async def query(self, promql: str, *, at: datetime) -> Answer:  # noqa: ARG002 - the client's signature
        """The state of the pods, or their counters."""
        self._metrics.queries.labels("answered").inc()
        names = _NAMES.search(promql)
        return Samples(tuple(self._state() if names is None else self._counters(json.loads(names[1]))))

    async def query_range(self, promql: str, *, start: float, end: float, step_seconds: float) -> Past:  # noqa: ARG002 - the client's signature
        """Nothing: it is the first process, and was never restarted."""
        return Lines(())

    def _state(self) -> list[Sample]:
        numbers: dict[tuple[tuple[str, str], ...], float] = defaultdict(float)
        for sample in self._samples:
            group = _of(sample, GROUP)
            if sample.name == "up":
                numbers[*group, (FACT, Fact.TARGETS)] += 1
                numbers[*group, (FACT, Fact.UP)] += sample.value
            elif sample.name == _CACHE:
                numbers[*group, *_of(sample, (NUM_GPU_BLOCKS, BLOCK_SIZE)), (FACT, Fact.CACHE)] = 1
        return [Sample(dict(labels), value) for labels, value in numbers.items()]

    def _counters(self, pattern: str) -> list[Sample]:
        wanted = re.compile(pattern)
        sums: dict[tuple[tuple[str, str], ...], float] = defaultdict(float)
        pods = set()
        for sample in self._samples:
            if wanted.fullmatch(sample.name):
                sums[(NAME, sample.name), *_of(sample, (BOUND, TEMPERATURE, *POD))] += sample.value
                pods.add(_of(sample, POD))
        scraped = [Sample({**dict(pod), FACT: Fact.SCRAPED_AT}, self._at) for pod in pods]
        return [*(Sample(dict(labels), value) for labels, value in sums.items()), *scraped]
