"""One rung of the ladder: does the mode fit, what does its KV cache hold, and which flags follow."""

from specdecode.api.vocabulary import Mode
from specdecode.engine.arguments import command_line
from specdecode.plan.ladder import speculation_of
from specdecode.plan.ledger import Ledger, ledger
from specdecode.plan.remedies import remedies
from specdecode.plan.types import ModePlan
from specdecode.plan.workload import Workload


def _short_bytes(workload: Workload, counted: Ledger) -> int:
    """What is missing to hold one request of maxModelLen, vLLM's own condition (`_check_enough_kv_cache_memory`), or
    to keep what lies outside the engine's budget.
    """
    needed = counted.layout.request_bytes(workload.spec.engine.max_model_len)
    return max(0, needed - counted.kv_cache.nominal, -counted.spare.nominal)


def fits(workload: Workload, mode: Mode) -> bool:
    """Whether a mode holds one request of maxModelLen and the card holds all of it, by the most likely numbers."""
    return _short_bytes(workload, ledger(workload, mode)) == 0


def mode_plan(workload: Workload, mode: Mode) -> ModePlan:
    """Plan one mode."""
    counted = ledger(workload, mode)
    short = _short_bytes(workload, counted)
    length = workload.spec.engine.max_model_len
    available = counted.kv_cache.nominal
    layout = counted.layout
    return ModePlan(
        mode=mode,
        fits=short == 0,
        short_bytes=short,
        ledger=counted.lines,
        kv_cache_bytes_per_gpu=available,
        bytes_per_token=layout.bytes_per_token,
        kv_cache_tokens=0 if short else layout.tokens_in(available, length),
        requests_at_max_model_len=0.0 if short else layout.requests_in(available, length),
        bytes_per_block=layout.bytes_per_block,
        block_size_tokens=layout.block_tokens,
        request_bytes=layout.request_bytes(length),
        shape=counted.shape,
        load_bytes=counted.load_bytes,
        arguments=command_line(
            workload.spec,
            workload.version,
            speculation_of(workload.spec, mode),
            pinned_bytes=available if counted.is_pinned and short == 0 else None,
        ),
        remedies=remedies(workload, mode, fits) if short else (),
    )
