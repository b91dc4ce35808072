"""The KV cache that running engines report, from the labels of `vllm:cache_config_info`. Pure."""

import re
from collections.abc import Iterable

from specdecode.decide.facts import CacheReading

NUM_GPU_BLOCKS = "num_gpu_blocks"
BLOCK_SIZE = "block_size"

_COUNT = re.compile(r"[1-9][0-9]{0,11}")
"""vLLM writes `None` where it has not counted yet, and 0 for a model that keeps no cache."""


def cache_reading(labels: Iterable[tuple[str, str]]) -> CacheReading | None:
    """The smallest cache of the pods, in tokens. `labels` holds the number of blocks and their size, as written.

    Only what is a number on both sides counts; None when nothing does.
    """
    readings = [
        CacheReading(int(blocks), int(size))
        for blocks, size in labels
        if _COUNT.fullmatch(blocks) and _COUNT.fullmatch(size)
    ]
    return min(
        readings, key=lambda read: (read.num_gpu_blocks * read.block_size_tokens, read.num_gpu_blocks), default=None
    )
