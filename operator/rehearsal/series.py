"""What the picture of a story shows, read back from its own Prometheus."""

import math
from dataclasses import dataclass

from rehearsal.prometheus import Prometheus

STEP_SECONDS = 2.0
_RATE = "[15s]"

Line = list[tuple[float, float]]
"""(seconds since the story's start, value)."""

_QUERIES = {
    "acceptance": f"100 * sum(rate(vllm:spec_decode_num_accepted_tokens_total{_RATE}))"
    f" / sum(rate(vllm:spec_decode_num_draft_tokens_total{_RATE}))",
    "tpot_p50": "1000 * histogram_quantile(0.5, "
    f"sum by (le) (rate(vllm:request_time_per_output_token_seconds_bucket{_RATE})))",
    "tpot_p99": "1000 * histogram_quantile(0.99, "
    f"sum by (le) (rate(vllm:request_time_per_output_token_seconds_bucket{_RATE})))",
    "tpot_mean": f"1000 * sum(rate(vllm:request_time_per_output_token_seconds_sum{_RATE}))"
    f" / sum(rate(vllm:request_time_per_output_token_seconds_count{_RATE}))",
    "running": "sum(vllm:num_requests_running)",
}


@dataclass(frozen=True)
class Series:
    """Lines over the seconds of a story: acceptance in per cent, TPOT in ms, running requests."""

    acceptance: Line
    tpot_p50: Line
    tpot_p99: Line
    tpot_mean: Line
    running: Line


async def read_series(prometheus: Prometheus, started: float, ended: float) -> Series:
    """Read the lines of a story that ran between two Unix times."""
    lines: dict[str, Line] = {}
    for name, promql in _QUERIES.items():
        answer = await prometheus.query_range(promql, started, ended, STEP_SECONDS)
        values = answer[0]["values"] if answer else []
        points = [(float(at) - started, float(value)) for at, value in values]
        lines[name] = [(at, value) for at, value in points if math.isfinite(value)]
    return Series(**lines)
