"""Hours of the simulated engine in seconds: the same steps and acceptance, scraped every 15 s, as OpenMetrics text.

It is what a Prometheus would have kept. Nothing runs: requests are answered on paper, each as long as the others.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

from rehearsal.engine.behaviour import Behaviour, DraftKind
from rehearsal.engine.model import Step, accepted_tokens, log_acceptance, step_seconds
from specdecode.engine.metrics import MetricNames, edges
from specdecode.engine.version import EngineVersion

SCRAPE_SECONDS = 15
TOKENS_PER_REQUEST = 30
DRAFT_TOKENS = 3
_KV_TOKENS_PER_REQUEST = 20
_LABELS = 'model_name="chat",engine="0",instance="10.0.0.1:8000",job="vllm"'


class _Counters:
    """Cumulative values by series, and the lines they leave at every scrape."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.lines: dict[str, list[str]] = {}

    def add(self, series: str, amount: float) -> None:
        self.values[series] = self.values.get(series, 0.0) + amount

    def show(self, series: str, value: float) -> None:
        self.values[series] = value

    def observe(self, name: str, bounds: tuple[float, ...], seconds: float, times: float) -> None:
        for bound in (*bounds, float("inf")):
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            self.add(f'{name}_bucket{{{_LABELS},le="{le}"}}', times if seconds <= bound else 0.0)
        self.add(f"{name}_sum{{{_LABELS}}}", seconds * times)
        self.add(f"{name}_count{{{_LABELS}}}", times)

    def scrape(self, at: int) -> None:
        for series, value in self.values.items():
            self.lines.setdefault(series, []).append(f"{series} {value:.10g} {at}\n")


def fast_forward(
    path: Path,
    behaviour_at: Callable[[float], Behaviour],
    *,
    begin: int,
    hours: float,
    requests: int,
    version: EngineVersion,
    names: MetricNames,
) -> None:
    """Write what an engine with so many requests at a time shows for so many hours from `begin`, in Unix seconds.

    `behaviour_at` is asked once per scrape, with the hours that have passed.
    """
    random, counters = Random(1), _Counters()
    bounds, clock = edges(version), 0.0
    for scrape in range(int(hours * 3600 / SCRAPE_SECONDS)):
        behaviour = behaviour_at(scrape * SCRAPE_SECONDS / 3600)
        log, step = log_acceptance(behaviour, DraftKind.DRAFT, 0.0), _step(behaviour, requests)
        steps = accepted = 0
        while clock < (scrape + 1) * SCRAPE_SECONDS:
            clock += step
            steps += 1
            accepted += sum(accepted_tokens(random, log, DRAFT_TOKENS) for _ in range(requests))
        drafts = steps * requests
        finished = (drafts + accepted) / TOKENS_PER_REQUEST
        for name, amount in (
            (names.drafts, drafts),
            (names.draft_tokens, drafts * DRAFT_TOKENS),
            (names.accepted_tokens, accepted),
            (names.generation_tokens, drafts + accepted + finished),
            (names.preemptions, 0),
        ):
            counters.add(f"{name}{{{_LABELS}}}", amount)
        counters.add(f'{names.finished_requests}{{{_LABELS},finished_reason="length"}}', finished)
        token_seconds = step * drafts / (drafts + accepted)
        counters.observe(names.itl, bounds.tpot_seconds, step, drafts)
        counters.observe(str(names.tpot), bounds.tpot_seconds, token_seconds, finished)
        counters.observe(names.ttft, bounds.ttft_seconds, step, finished)
        counters.observe(names.e2e, bounds.e2e_seconds, token_seconds * TOKENS_PER_REQUEST, finished)
        counters.show(f"{names.running}{{{_LABELS}}}", requests)
        counters.show(f"{names.waiting}{{{_LABELS}}}", 0)
        counters.show(f"{names.kv_cache_usage}{{{_LABELS}}}", 0.1)
        counters.scrape(begin + (scrape + 1) * SCRAPE_SECONDS)
    with path.open("w", encoding="utf-8") as file:
        for lines in counters.lines.values():
            file.writelines(lines)
        file.write("# EOF\n")


def _step(behaviour: Behaviour, requests: int) -> float:
    """Seconds of one step in which every request drafts."""
    tokens = requests * (1 + DRAFT_TOKENS)
    return step_seconds(behaviour, Step(tokens, requests * _KV_TOKENS_PER_REQUEST, DRAFT_TOKENS, DraftKind.DRAFT))
