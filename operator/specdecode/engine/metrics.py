"""Which Prometheus names an engine version exposes, and where its histograms have edges.

It names series and never queries them. Counters carry the `_total` they have on the wire; histograms are base names, to
which `_bucket`, `_sum` and `_count` are added. Read from the sources of the releases; the names and edges of 0.32 agree
with captures of a running 0.32.0.
"""

from dataclasses import dataclass, replace

from specdecode.engine.version import EngineVersion


@dataclass(frozen=True)
class MetricNames:
    """The series of one engine version. Labels: `model_name` and `engine`, summed over engines before dividing."""

    drafts: str = "vllm:spec_decode_num_drafts_total"
    draft_tokens: str = "vllm:spec_decode_num_draft_tokens_total"
    accepted_tokens: str = "vllm:spec_decode_num_accepted_tokens_total"
    accepted_tokens_per_position: str = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
    """With the label `position`, counted from 0."""
    generation_tokens: str = "vllm:generation_tokens_total"
    prompt_tokens: str = "vllm:prompt_tokens_total"
    finished_requests: str = "vllm:request_success_total"
    preemptions: str = "vllm:num_preemptions_total"
    tpot: str | None = None
    """Mean per request, decode time / (tokens - 1): the time per output token that users feel. None before 0.11."""
    itl: str = "vllm:time_per_output_token_seconds"
    """Interval between engine steps that emit; not per token under speculation."""
    ttft: str = "vllm:time_to_first_token_seconds"
    e2e: str = "vllm:e2e_request_latency_seconds"
    queue: str = "vllm:request_queue_time_seconds"
    running: str = "vllm:num_requests_running"
    waiting: str = "vllm:num_requests_waiting"
    kv_cache_usage: str = "vllm:gpu_cache_usage_perc"
    """0 to 1, despite its name."""
    cache_config_info: str = "vllm:cache_config_info"
    """Always 1; its labels carry num_gpu_blocks, block_size and kv_cache_size_tokens."""


_CHANGES: tuple[tuple[EngineVersion, dict[str, str]], ...] = (
    (EngineVersion(0, 9, 2), {"kv_cache_usage": "vllm:kv_cache_usage_perc"}),
    (EngineVersion(0, 10, 2), {"itl": "vllm:inter_token_latency_seconds"}),
    (EngineVersion(0, 11, 0), {"tpot": "vllm:request_time_per_output_token_seconds"}),
)
"""First version with a name, oldest first; `MetricNames()` is 0.8.5."""


def metric_names(version: EngineVersion) -> MetricNames:
    """The names that `version` exposes; versions before 0.8.5 are refused by the plan and have no row here."""
    names = MetricNames()
    for since, changes in _CHANGES:
        if version >= since:
            names = replace(names, **changes)
    return names


TPOT_EDGES_SECONDS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
"""Upper edges of the TPOT and ITL buckets. Nothing below the first edge can be told apart."""

TTFT_EDGES_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
"""Upper edges of the TTFT buckets."""

E2E_EDGES_SECONDS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
"""Upper edges of the E2E buckets."""
