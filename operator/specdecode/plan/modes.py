"""One rung of the ladder: does the mode fit, what does its KV cache hold, and which flags follow."""

from specdecode.api.vocabulary import Mode
from specdecode.engine.arguments import command_line
from specdecode.plan.ladder import speculation_of
from specdecode.plan.ledger import Ledger, ledger
from specdecode.plan.memory import BLOCK_TOKENS
from specdecode.plan.remedies import remedies
from specdecode.plan.shape import shape_of
from specdecode.plan.types import ModePlan
from specdecode.plan.workload import Workload


def _short_bytes(workload: Workload, counted: Ledger) -> int:
    """What is missing to hold one request of maxModelLen, vLLM's own condition (`_check_enough_kv_cache_memory`)."""
    needed = counted.shape.request_bytes(workload.spec.engine.max_model_len)
    return max(0, needed - counted.kv_cache.nominal)


def fits(workload: Workload, mode: Mode) -> bool:
    """Whether the KV cache of a mode holds one request of maxModelLen, by the most likely numbers."""
    return _short_bytes(workload, ledger(workload, mode)) == 0


def mode_plan(workload: Workload, mode: Mode) -> ModePlan:
    """Plan one mode."""
    counted = ledger(workload, mode)
    short = _short_bytes(workload, counted)
    length = workload.spec.engine.max_model_len
    available = counted.kv_cache.nominal
    tokens = 0 if short else counted.shape.tokens_in(available, length)
    return ModePlan(
        mode=mode,
        fits=short == 0,
        short_bytes=short,
        ledger=counted.lines,
        kv_cache_bytes_per_gpu=available,
        bytes_per_token=counted.shape.bytes_per_token,
        kv_cache_tokens=tokens,
        requests_at_max_model_len=tokens / length,
        bytes_per_block=counted.shape.bytes_per_token * BLOCK_TOKENS,
        block_size_tokens=BLOCK_TOKENS,
        shape=shape_of(workload, speculation_of(workload.spec, mode)),
        load_bytes=counted.load_bytes,
        arguments=command_line(
            workload.spec,
            workload.version,
            speculation_of(workload.spec, mode),
            pinned_bytes=available if counted.is_pinned and short == 0 else None,
        ),
        remedies=remedies(workload, mode, fits) if short else (),
    )
