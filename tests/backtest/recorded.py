"""History of simulated engines: steady traffic whose acceptance follows a curve, as lines and as OpenMetrics text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from builders import NOW

from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.prometheus import Line
from specdecode.observe.queries import series_of
from specdecode.observe.track import Floats

T0 = NOW.timestamp()
NAMES = metric_names(EngineVersion(0, 32, 0))
LABELS: Mapping[str, str] = {
    "job": "vllm",
    "namespace": "serving",
    "specdecode_io_deployment": "llama-70b",
    "specdecode_io_mode": "QuantizedDraft",
    "specdecode_io_arm": "main",
}
DRAFT_TOKENS = 5
STEP_SECONDS = 0.02
RUNNING = 8.0
_STEPS_PER_SECOND = RUNNING / STEP_SECONDS
_TOKENS_PER_REQUEST = 200
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)


def healthy(at: Floats) -> Floats:
    """Accepted tokens per draft."""
    return np.full(len(at), 3.6)


def collapsing(moment: float, to: float = 0.03) -> Callable[[Floats], Floats]:
    """Healthy until a moment in seconds after the beginning."""
    return lambda at: np.where(at < moment, 3.6, to)


@dataclass(frozen=True)
class Recorded:
    """One pod, scraped at regular moments."""

    seconds: float = 3600.0
    begin: float = 0.0
    """Seconds after `T0` at which it is scraped first."""
    interval: float = 15.0
    labels: Mapping[str, str] = field(default_factory=lambda: LABELS)
    instance: str = "10.0.0.1:8000"
    accepted: Callable[[Floats], Floats] = healthy
    """Accepted tokens per draft by seconds after `T0`."""
    is_speculating: bool = True
    engines: int = 1
    names: MetricNames = NAMES
    seed: int = 1
    lost: tuple[tuple[float, float], ...] = ()
    """Stretches without scrapes, in seconds after `T0`."""
    restarts: tuple[float, ...] = ()

    @property
    def moments(self) -> Floats:
        """Scrapes, in seconds after `T0`."""
        at: Floats = self.begin + np.arange(0.0, self.seconds, self.interval)
        for begin, end in self.lost:
            at = at[(at < begin) | (at >= end)]
        return at


def _counted(recorded: Recorded, increments: Floats) -> Floats:
    """Counters that begin anew at each restart; the first scrape says what came before it: nothing."""
    at, total = recorded.moments, np.cumsum(increments)
    for restart in recorded.restarts:
        place = int(np.searchsorted(at, restart))
        if 0 < place < len(at):
            total[place:] -= total[place - 1]
    return total


def _facts(recorded: Recorded) -> dict[str, Floats]:
    """Increments by fact, and buckets as `tpot_bucket@0.025`."""
    at, rng = recorded.moments, np.random.default_rng(recorded.seed)
    spans = np.diff(at, prepend=at[0])
    steps = rng.poisson(_STEPS_PER_SECOND / recorded.engines * spans).astype(np.float64)
    rate = np.clip(recorded.accepted(at) / DRAFT_TOKENS, 0.0, 1.0) if recorded.is_speculating else np.zeros(len(at))
    accepted = rng.binomial((DRAFT_TOKENS * steps).astype(np.int64), rate).astype(np.float64)
    tokens = steps + accepted
    requests = rng.poisson(tokens / _TOKENS_PER_REQUEST).astype(np.float64)
    tpot = STEP_SECONDS * np.divide(steps, tokens, out=np.zeros(len(at)), where=tokens > 0)
    facts = {
        "generation_tokens": tokens,
        "requests": requests,
        "preemptions": np.zeros(len(at)),
        "step_sum": steps * STEP_SECONDS,
        "step_count": steps,
    }
    if recorded.is_speculating:
        facts |= {"drafts": steps, "draft_tokens": DRAFT_TOKENS * steps, "accepted_tokens": accepted}
    for fact, mean in (("tpot", tpot), ("ttft", np.full(len(at), 0.12)), ("e2e", tpot * _TOKENS_PER_REQUEST)):
        facts |= {f"{fact}_sum": requests * mean, f"{fact}_count": requests}
        for bound in _BOUNDS:
            facts[f"{fact}_bucket@{bound}"] = np.where(mean <= bound, requests, 0.0)
        facts[f"{fact}_bucket@+Inf"] = requests
    return facts


def lines(*pods: Recorded) -> tuple[Line, ...]:
    """Everything that the pods exposed."""
    return tuple(line for pod in pods for line in _lines(pod))


def _lines(recorded: Recorded) -> Iterator[Line]:
    names, at = series_of(recorded.names), recorded.moments + T0
    labels = {**recorded.labels, "instance": recorded.instance, "model_name": "meta-llama/Llama-3.1-70B-Instruct"}
    for engine in range(recorded.engines):
        own = {**labels, "engine": str(engine)}
        for fact, increments in _facts(recorded).items():
            series, _, bound = fact.partition("@")
            if series in names:
                place = {"le": bound} if bound else {}
                yield Line({"__name__": names[series], **place, **own}, at, _counted(recorded, increments))
        gauges = {"running": RUNNING / recorded.engines, "waiting": 0.0, "kv_cache_usage": 0.4}
        for fact, value in gauges.items():
            yield Line({"__name__": names[fact], **own}, at, np.full(len(at), value))


def head(labels: Mapping[str, str], separator: str = ",") -> str:
    """A series as text."""
    rest = separator.join(f'{label}="{value}"' for label, value in labels.items() if label != "__name__")
    return f"{labels['__name__']}{{{rest}}}"


def openmetrics(*pods: Recorded, milliseconds: bool = False) -> str:
    """As `promtool tsdb dump-openmetrics` writes it: one series after the other, moments in seconds."""
    text = []
    for line in lines(*pods):
        begin = head(line.labels)
        for at, value in zip(line.at.tolist(), line.values.tolist(), strict=True):
            text.append(f"{begin} {value:g} {at * 1000:.0f}" if milliseconds else f"{begin} {value!r} {at:.3f}")
    return "\n".join((*text, "# EOF", ""))


def pages(*pods: Recorded) -> str:
    """The same, one scrape after the other, in the text format with milliseconds."""
    samples = [
        (at, f"{head(line.labels)} {value!r} {at * 1000:.0f}")
        for line in lines(*pods)
        for at, value in zip(line.at.tolist(), line.values.tolist(), strict=True)
    ]
    samples.sort(key=lambda sample: sample[0])
    text = []
    for _, scrape in groupby(samples, key=lambda sample: sample[0]):
        text += ["# HELP vllm:generation_tokens_total Tokens.", *(sample for _, sample in scrape)]
    return "\n".join((*text, ""))


def names_in(found: Sequence[Line]) -> frozenset[str]:
    """Names of lines."""
    return frozenset(line.labels["__name__"] for line in found)
