"""How long a pod may take to start before the guard counts it as failed."""

FLOOR_SECONDS = 600
"""Imports, compilation and graph capture without any weights. 8B on L40S: 294 s cold, 94 of them for download and
weights; 70B FP8 on 8 GPUs: 205 s beside the weights, 30 to 60 s for the first request (vllm-project/vllm#19824)."""

SLOWEST_BYTES_PER_SECOND = 60_000_000
"""70B in 16 bit took 40 minutes from a slow disk and 3 from NVMe (vllm-project/vllm#2233)."""

CAP_SECONDS = 4 * 3600
"""405B in 16 bit at the slowest rate; beyond it something else is wrong."""


def startup_budget_seconds(load_bytes: int) -> int:
    """Seconds from the start of a container to its first answer, for the weights that its pod reads.

    A budget that is too short turns a slow disk into a rollback; one that is too long only delays finding a hang.
    """
    return min(CAP_SECONDS, FLOOR_SECONDS + load_bytes // SLOWEST_BYTES_PER_SECOND)


_START_SECONDS = 130
"""8B on an L40S between 82 s tuned and 294 s cold; 70B FP8 on 8 GPUs 205 s beside hot weights: the geometric middle
of what does not depend on the weights (vllm-project/vllm#19824, vllm-project/vllm#20264)."""
_USUAL_BYTES_PER_SECOND = 800_000_000
"""70B in 16 bit in 3 minutes from NVMe (vllm-project/vllm#2233)."""


def expected_start_seconds(load_bytes: int) -> float:
    """Seconds that a start usually takes: what turning speculation on or off costs each replica."""
    return _START_SECONDS + load_bytes / _USUAL_BYTES_PER_SECOND
