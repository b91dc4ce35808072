"""Two plans beside each other: what is different in numbers and in flags. It compares the requested modes."""

from collections.abc import Iterator
from dataclasses import dataclass

from specdecode.plan.types import LedgerLine, ModePlan

_WEIGHTS = ("targetWeights", "draftWeights", "rotaryCaches")
_BESIDE = ("activationPeak", "buffers", "nonTorch", "cudaGraphs", "safety")


@dataclass(frozen=True)
class Difference:
    """One thing that two plans do not share; None where a plan has no such thing."""

    name: str
    left: str | float | None
    right: str | float | None


def line_of(mode: ModePlan, name: str) -> LedgerLine:
    """A line of the ledger; an empty one where the mode has none."""
    return next((line for line in mode.ledger if line.name == name), LedgerLine(name, 0, 0, 0, ""))


def taken_bytes(mode: ModePlan, *names: str) -> int:
    """Bytes per GPU that lines of the ledger take together."""
    return -sum(line.bytes for line in mode.ledger if line.name in names)


def numbers_of(mode: ModePlan) -> dict[str, float]:
    """The numbers that people compare, by their names in the JSON document where they have one."""
    return {
        "budget": line_of(mode, "budget").bytes,
        "weights": taken_bytes(mode, *_WEIGHTS),
        "draftWeights": taken_bytes(mode, "draftWeights"),
        "besideWeights": taken_bytes(mode, *_BESIDE),
        "kvCache": mode.kv_cache_bytes_per_gpu,
        "bytesPerToken": mode.bytes_per_token,
        "kvCacheTokens": mode.kv_cache_tokens,
        "requestsAtMaxModelLen": round(mode.requests_at_max_model_len, 2),
        "shortBytes": mode.short_bytes,
    }


def different_numbers(left: ModePlan, right: ModePlan) -> tuple[Difference, ...]:
    """Numbers that are not the same."""
    ours, theirs = numbers_of(left), numbers_of(right)
    return tuple(Difference(name, ours[name], theirs[name]) for name in ours if ours[name] != theirs[name])


def _flags(mode: ModePlan) -> dict[str, str]:
    pairs = (argument.partition("=") for argument in mode.arguments)
    return {name: value or "set" for name, _, value in pairs}


def different_flags(left: ModePlan, right: ModePlan) -> tuple[Difference, ...]:
    """Flags that only one has, or that have another value."""
    return tuple(_different_flags(_flags(left), _flags(right)))


def _different_flags(left: dict[str, str], right: dict[str, str]) -> Iterator[Difference]:
    for name in dict.fromkeys((*left, *right)):
        if left.get(name) != right.get(name):
            yield Difference(name, left.get(name), right.get(name))
