"""What vLLM 0.32.0 shows on `/metrics`: every `vllm:` series of a real capture, by name, type, help, labels and bounds.

`vllm-0.32.0-metrics.json` lists the families in the engine's order. The batch counts in plain numbers, so that a step
costs little; the exposition is built when somebody scrapes. What a family means is `batch`'s business.
"""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rehearsal.engine.arguments import VERSION, EngineArguments
from rehearsal.engine.cache import BLOCK_SIZE

_UP_TO_MAX_MODEL_LEN = "up to max_model_len"

Labels = dict[str, str]


class Number:
    """A counter or a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Histogram:
    """Counts per bucket, and the sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """One more than there are bounds: what is above the last."""
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, as often as it occurred."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


@cache
def _listed() -> Sequence[Mapping[str, Any]]:
    file = resources.files("rehearsal.engine").joinpath(f"vllm-{VERSION}-metrics.json")
    listed: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return listed


def bounds_up_to(largest: int) -> tuple[int, ...]:
    """1, 2, 5, 10, 20, 50 … as far as they are not above the largest value (vLLM's `build_1_2_5_buckets`)."""
    bounds: list[int] = []
    for exponent in range(len(str(largest))):
        bounds += [digit * 10**exponent for digit in (1, 2, 5)]
    return tuple(bound for bound in bounds if bound <= largest)


def _cache_config(arguments: EngineArguments, kv_cache_tokens: int) -> Labels:
    """Labels of `vllm:cache_config_info` that depend on the command line."""
    blocks = kv_cache_tokens // BLOCK_SIZE
    tokens = blocks * BLOCK_SIZE
    return {
        "block_size": str(BLOCK_SIZE),
        "effective_attention_block_size": str(BLOCK_SIZE),
        "cache_dtype": arguments.kv_cache_dtype,
        "enable_prefix_caching": str(arguments.enable_prefix_caching),
        "gpu_memory_utilization": str(arguments.gpu_memory_utilization),
        "kv_cache_max_concurrency": f"{tokens / arguments.max_model_len:.2f}",
        "kv_cache_memory_bytes": str(arguments.kv_cache_memory_bytes),
        "kv_cache_size_tokens": str(tokens),
        "num_gpu_blocks": str(blocks),
    }


class _Family:
    """One family with its children: one per value of its own label, or a single one."""

    def __init__(self, listed: Mapping[str, Any], common: Labels, values: Sequence[str], max_model_len: int) -> None:
        self.name: str = listed["name"]
        self.kind: str = listed["kind"]
        self.help: str = listed["help"]
        bounds = listed.get("bounds", ())
        if bounds == _UP_TO_MAX_MODEL_LEN:
            bounds = bounds_up_to(max_model_len)
        label = listed.get("label")
        self.labels: list[Labels] = [common | {label: value} for value in values] if label else [common]
        keys = values if label else [""]
        self.children: dict[str, Number | Histogram] = {
            key: Histogram(bounds) if self.kind == "histogram" else Number() for key in keys
        }

    def collect(self, created: float) -> Metric:
        """The family with its samples. `created` is a Unix time."""
        children = zip(self.labels, self.children.values(), strict=True)
        match self.kind:
            case "histogram":
                histogram = HistogramMetricFamily(self.name, self.help, labels=[])
                for labels, child in children:
                    assert isinstance(child, Histogram)
                    _add_histogram(histogram, labels, child, created)
                return histogram
            case "counter":
                family: Metric = CounterMetricFamily(self.name, self.help, labels=[])
                suffix = "_total"
            case _:
                family, suffix = GaugeMetricFamily(self.name, self.help, labels=[]), ""
        for labels, child in children:
            assert isinstance(child, Number)
            family.add_sample(self.name + suffix, labels, child.value)
            if suffix:
                family.add_sample(f"{self.name}_created", labels, created)
        return family


def _add_histogram(family: HistogramMetricFamily, labels: Labels, child: Histogram, created: float) -> None:
    total = 0
    for bound, count in zip((*child.bounds, float("inf")), child.counts, strict=True):
        total += count
        family.add_sample(
            f"{family.name}_bucket", labels | {"le": "+Inf" if bound == float("inf") else str(float(bound))}, total
        )
    family.add_sample(f"{family.name}_count", labels, total)
    family.add_sample(f"{family.name}_sum", labels, child.sum)
    family.add_sample(f"{family.name}_created", labels, created)


class EngineMetrics(Collector):
    """All series of one engine. The speculative ones exist only with speculation on, and then from the start."""

    def __init__(self, arguments: EngineArguments, kv_cache_tokens: int, created: float) -> None:
        self._created = created
        positions = [
            str(position)
            for position in range((arguments.speculation.num_speculative_tokens or 0) if arguments.speculation else 0)
        ]
        model = {"model_name": arguments.served_model_name}
        self._families: dict[str, _Family] = {}
        for listed in _listed():
            if listed.get("speculative", False) and not arguments.speculation:
                continue
            common = model | {"engine": "0"} if listed.get("per_engine", True) else model
            if config := listed.get("config"):
                common = {"engine": "0"} | config | _cache_config(arguments, kv_cache_tokens)
            values = listed.get("values") or positions
            self._families[listed["name"]] = _Family(listed, common, values, arguments.max_model_len)
        self.number("vllm:cache_config_info").value = 1
        self.number("vllm:engine_sleep_state", "awake").value = 1
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def number(self, name: str, value: str = "") -> Number:
        """The counter or gauge of a family; `value` is that of the family's own label. KeyError: it is not shown."""
        child = self._families[name].children[value]
        assert isinstance(child, Number)
        return child

    def numbers(self, name: str) -> list[Number]:
        """All children of a family, in the order of its label's values."""
        return [self.number(name, value) for value in self._families[name].children]

    def histogram(self, name: str) -> Histogram:
        """The histogram of a family. KeyError: it is not shown."""
        child = self._families[name].children[""]
        assert isinstance(child, Histogram)
        return child

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at a scrape."""
        return (family.collect(self._created) for family in self._families.values())

    def exposition(self) -> bytes:
        """What `/metrics` answers, in Prometheus' text format."""
        return generate_latest(self._registry)
