"""Which Prometheus names an engine version exposes, and where its histograms have edges.

It names series and never queries them. Counters carry the `_total` they have on the wire, whether their declaration has
it or not; histograms are base names, to which `_bucket`, `_sum` and `_count` are added. Read from the sources of 46
releases, 0.6.0 to 0.33.0; the names and edges of 0.32 agree with captures of a running 0.32.0.
"""

from dataclasses import dataclass, replace
from functools import cache

from specdecode.api.vocabulary import Method
from specdecode.engine.flags import runs_v0
from specdecode.engine.version import EngineVersion


@dataclass(frozen=True)
class MetricNames:
    """The series of one engine; None: it has no such series.

    Labels: `model_name`, and `engine` since 0.8.3 with the second generation, summed over engines before dividing.
    """

    drafts: str | None = None
    draft_tokens: str = "vllm:spec_decode_num_draft_tokens_total"
    accepted_tokens: str = "vllm:spec_decode_num_accepted_tokens_total"
    accepted_tokens_per_position: str | None = None
    """With the label `position`, counted from 0."""
    emitted_tokens: str | None = None
    """Only of the first engine generation. Where it is exposed, the counters of speculation mean something else: its
    logger adds the totals since the start of the engine to them, every five seconds, so that only their ratios say
    something (`PrometheusStatLogger.log` with `AsyncMetricsCollector`), and accepted tokens count those behind a
    rejected one too, which are thrown away. Emitted tokens are what a request got.
    """
    generation_tokens: str = "vllm:generation_tokens_total"
    prompt_tokens: str = "vllm:prompt_tokens_total"
    finished_requests: str = "vllm:request_success_total"
    """Answered to the end. One whose client went away is never counted, although its label has a value `abort`; its
    tokens and its first token's time are (measured on 0.32.0).
    """
    preemptions: str = "vllm:num_preemptions_total"
    tpot: str | None = None
    """Mean per request, decode time / (tokens - 1): the time per output token that users feel."""
    itl: str = "vllm:time_per_output_token_seconds"
    """Interval between engine steps that emit, once per request and step; not per token under speculation."""
    ttft: str = "vllm:time_to_first_token_seconds"
    e2e: str = "vllm:e2e_request_latency_seconds"
    queue: str | None = None
    running: str = "vllm:num_requests_running"
    waiting: str = "vllm:num_requests_waiting"
    kv_cache_usage: str = "vllm:gpu_cache_usage_perc"
    """0 to 1, despite its name."""
    cache_config_info: str = "vllm:cache_config_info"
    """Always 1; its labels carry num_gpu_blocks and block_size. The second generation says `None` before 0.9, because
    its front end writes them down before the engine has counted. From 0.18 to 0.23 block_size is what was asked for,
    not what an attention backend made of it.
    """


_CHANGES: tuple[tuple[EngineVersion, dict[str, str]], ...] = (
    (EngineVersion(0, 6, 4), {"queue": "vllm:request_queue_time_seconds"}),
    (EngineVersion(0, 10, 2), {"itl": "vllm:inter_token_latency_seconds"}),
    (
        EngineVersion(0, 11, 0),
        {
            # The name exists since 0.9.2, but only with the second generation; until 0.10.2 both have the old one.
            "kv_cache_usage": "vllm:kv_cache_usage_perc",
            "tpot": "vllm:request_time_per_output_token_seconds",
        },
    ),
)
"""First version with a name, oldest first; `MetricNames()` is 0.6.0 without the counters of either generation."""

_V0_GONE_IN = EngineVersion(0, 10)
"""First release in which the first generation does not speculate."""


@cache
def metric_names(version: EngineVersion, method: Method | None = None) -> MetricNames:
    """The names that an engine of `version` exposes that proposes by `method`; None: no speculation.

    Up to 0.9.2 an engine of the second generation may turn out to be one of the first, as on GPUs before Ampere:
    emitted tokens are named for both, and tell which one runs.
    """
    names = MetricNames()
    for since, changes in _CHANGES:
        if version >= since:
            names = replace(names, **changes)
    if version < _V0_GONE_IN:
        names = replace(names, emitted_tokens="vllm:spec_decode_num_emitted_tokens_total")
    if runs_v0(version, method) or version < EngineVersion(0, 8, 5):
        return names
    return replace(
        names,
        drafts="vllm:spec_decode_num_drafts_total",
        accepted_tokens_per_position="vllm:spec_decode_num_accepted_tokens_per_pos_total",
    )


@dataclass(frozen=True)
class Edges:
    """Upper edges of the buckets, in seconds. Nothing below the first edge can be told apart."""

    tpot_seconds: tuple[float, ...]
    """Of TPOT and ITL."""
    ttft_seconds: tuple[float, ...]
    e2e_seconds: tuple[float, ...]


_TPOT = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_E2E_BELOW_A_SECOND = (0.3, 0.5, 0.8)
_E2E = (1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)

_EDGES: tuple[tuple[EngineVersion, Edges], ...] = (
    (
        EngineVersion(0, 8, 4),
        Edges(
            tpot_seconds=(*_TPOT, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
            ttft_seconds=(*_TTFT, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
            e2e_seconds=(*_E2E_BELOW_A_SECOND, *_E2E, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
        ),
    ),
    (EngineVersion(0, 6, 4), Edges(_TPOT, _TTFT, (*_E2E_BELOW_A_SECOND, *_E2E))),
)
"""First version with these edges, newest first."""
_FIRST_EDGES = Edges(_TPOT, _TTFT, (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0))


def edges(version: EngineVersion) -> Edges:
    """Where the histograms of a version have edges, unless 0.33's `--custom-histogram-buckets` moves them."""
    return next((found for since, found in _EDGES if version >= since), _FIRST_EDGES)
