"""Plans beside measurements: errors in GiB, bands, bytes per token, verdicts. Arithmetic on frozen values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from specdecode.api.resource import Rejection
from specdecode.engine.models import catalogue
from specdecode.plan.make import make_plan
from specdecode.plan.types import ModePlan

from .assumptions import Group
from .measured import GIB, Measured
from .rows import Row

_ROUNDING_GIB = 0.005
"""Logs print GiB with two decimals."""

WEIGHTS = ("targetWeights", "draftWeights", "rotaryCaches")


@dataclass(frozen=True)
class Prediction:
    """What the plan says of a row, in GiB per GPU."""

    row: Row
    mode: ModePlan
    advice: tuple[str, ...]
    """Reasons of the plan's advice."""

    def line(self, *names: str) -> float:
        """Sum of ledger lines; what takes counts positive."""
        return abs(sum(line.bytes for line in self.mode.ledger if line.name in names)) / GIB

    @property
    def kv_gib(self) -> float:
        """The most likely KV cache."""
        return self.mode.kv_cache_bytes_per_gpu / GIB

    @property
    def band_gib(self) -> tuple[float, float]:
        """Between which the plan says the KV cache will be."""
        line = next(line for line in self.mode.ledger if line.name == "kvCache")
        return line.low_bytes / GIB, line.high_bytes / GIB

    @property
    def error_gib(self) -> float:
        """Planned less measured; positive is too hopeful."""
        assert self.row.measured.kv_cache_gib is not None
        return self.kv_gib - self.row.measured.kv_cache_gib

    @property
    def is_inside(self) -> bool:
        """Whether the measured value, as rounded as it was printed, touches the band."""
        measured = self.row.measured.kv_cache_gib
        assert measured is not None
        low, high = self.band_gib
        return low - _ROUNDING_GIB <= measured <= high + _ROUNDING_GIB


Predicted = Prediction | Rejection


def predict(row: Row) -> Predicted:
    """Ask the plan through its public door. A refusal of a row that ran is a result, not an error."""
    assert row.asked is not None, row.skipped
    if isinstance(row.asked, Rejection):
        return row.asked
    plan = make_plan(row.asked)
    if isinstance(plan, Rejection):
        return plan
    return Prediction(row, plan.requested, tuple(advice.reason for advice in plan.advice))


def is_exact(mode: ModePlan, measured: Measured) -> bool:
    """Whether some KV cache that prints as the measured GiB holds exactly the measured tokens."""
    assert measured.kv_cache_gib is not None
    assert measured.kv_cache_tokens is not None
    tokens = measured.kv_cache_tokens / measured.decode_context_parallel
    block = tokens / measured.gpu_blocks if measured.gpu_blocks else measured.block_size or 16
    low, high = (int((measured.kv_cache_gib + edge) * GIB) for edge in (-_ROUNDING_GIB, _ROUNDING_GIB))
    bytes_per_block = block * mode.bytes_per_token
    return low // bytes_per_block * block <= tokens <= high // bytes_per_block * block


def bytes_error_percent(mode: ModePlan, measured: Measured) -> float:
    """Planned bytes per token against GiB / tokens as printed."""
    assert measured.kv_cache_gib is not None
    assert measured.kv_cache_tokens is not None
    tokens = measured.kv_cache_tokens / measured.decode_context_parallel
    return (mode.bytes_per_token / (measured.kv_cache_gib * GIB / tokens) - 1) * 100


def naive_kv_gib(measured: Measured, total_gib: float, utilization: str) -> float:
    """First baseline: the budget less the weights, with the measured weights in its favour."""
    assert measured.model_load_gib is not None
    return total_gib * float(utilization) - measured.model_load_gib


def constants_kv_gib(measured: Measured, total_gib: float, utilization: str) -> float:
    """Second baseline: constants by kind of model and number of GPUs, as published planners use."""
    facts = catalogue().get(measured.model)
    activation = 8.0 if facts is not None and facts.num_experts > 0 else 5.5
    non_torch = 0.15 if measured.gpus == 1 else 0.6
    return naive_kv_gib(measured, total_gib, utilization) - activation - non_torch


def baselines_gib(row: Row) -> tuple[float, float]:
    """KV cache by both baselines; only for rows whose inputs are known."""
    measured, assumed = row.measured, row.assumed
    total = measured.gpu_total_gib or assumed.gpu_total_gib
    utilization = measured.gpu_memory_utilization or assumed.gpu_memory_utilization
    assert total is not None
    assert utilization is not None
    return naive_kv_gib(measured, total, utilization), constants_kv_gib(measured, total, utilization)


def worst_term(prediction: Prediction) -> str:
    """The ledger line that is furthest from the log, as far as the log has it: its name and error in GiB."""
    measured = prediction.row.measured
    pairs = {
        "weights": (prediction.line(*WEIGHTS), measured.model_load_gib),
        "activation and graphs": (prediction.line("activationPeak", "cudaGraphs"), measured.activation_peak_gib),
        "non-torch": (prediction.line("nonTorch"), measured.non_torch_gib),
    }
    errors = {name: planned - seen for name, (planned, seen) in pairs.items() if seen is not None}
    if not errors:
        return "no line of it was published"
    name = max(errors, key=lambda key: abs(errors[key]))
    return f"{name} {errors[name]:+.2f}"


@dataclass(frozen=True)
class Summary:
    """One line of the accuracy table, GiB per GPU."""

    title: str
    rows: int
    mean_error: float
    median_error: float
    naive_error: float
    constants_error: float
    inside: int
    mean_width: float
    worst: Prediction


def _mean_absolute(errors: Iterable[float]) -> float:
    return fmean(abs(error) for error in errors)


def summarise(title: str, predictions: Sequence[Prediction]) -> Summary:
    """Errors of some rows, of the plan and of both baselines on the same rows."""
    measured = [prediction.row.measured.kv_cache_gib or 0.0 for prediction in predictions]
    baselines = [baselines_gib(prediction.row) for prediction in predictions]
    return Summary(
        title=title,
        rows=len(predictions),
        mean_error=_mean_absolute(prediction.error_gib for prediction in predictions),
        median_error=median(abs(prediction.error_gib) for prediction in predictions),
        naive_error=_mean_absolute(naive - seen for (naive, _), seen in zip(baselines, measured, strict=True)),
        constants_error=_mean_absolute(fixed - seen for (_, fixed), seen in zip(baselines, measured, strict=True)),
        inside=sum(prediction.is_inside for prediction in predictions),
        mean_width=fmean(high - low for low, high in (prediction.band_gib for prediction in predictions)),
        worst=max(predictions, key=lambda prediction: abs(prediction.error_gib)),
    )


def has_verdict(row: Row) -> bool:
    """Whether the row says if the engine started, for a card and a budget that are known."""
    return row.group not in {Group.SKIPPED, Group.BYTES, Group.DRAFT}


def called_impossible(row: Row, predicted: Predicted) -> bool:
    """A row that really started, refused or said not to fit."""
    fits = isinstance(predicted, Prediction) and predicted.mode.fits
    return has_verdict(row) and not row.measured.failed and not fits


def called_fitting(row: Row, predicted: Predicted) -> bool:
    """A row for which vLLM found no room, said to fit."""
    fits = isinstance(predicted, Prediction) and predicted.mode.fits
    return has_verdict(row) and row.measured.had_no_room and fits
