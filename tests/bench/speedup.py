"""The predicted speed-up beside published ones: rows, errors, and the errors without a row's own kind in the fit."""

import csv
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

from specdecode.decide.facts import Interval
from specdecode.decide.speedup import (
    CONSTANTS,
    GPUS,
    Constants,
    Drafting,
    Hardware,
    Load,
    Network,
    predict_speedup,
)

FILE = Path(__file__).parents[1] / "data" / "measured" / "speedups.csv"
FITTED_SOURCE = "https://arxiv.org/abs/2601.11580"

_LLAMA_8B, _LLAMA_70B = "Llama-3.1-8B-Instruct", "Llama-3-70B-Instruct"
_QWEN_27B, _DEEPSEEK = "Qwen3.8-27B", "DeepSeek-V3.2"
_DENSE_8B = Network(7.505e9, 15.01e9, 32, 4096, 131_072)
TARGETS = {
    _LLAMA_8B: _DENSE_8B,
    "Llama-3-8B-Instruct": _DENSE_8B,
    _LLAMA_70B: Network(69.5e9, 139e9, 80, 8192, 327_680),
    _QWEN_27B: Network(26e9, 14.9e9, 64, 5120, 65_536),
    _DEEPSEEK: Network(37e9, 18e9, 61, 7168, 70_272, expert_bytes=653e9, active_share=8 / 256),
}
"""From the configurations of the models: without input embeddings, with the output head."""

DRAFTS = {
    (_LLAMA_8B, "eagle"): Network(0.777e9, 1.553e9, 1, 4096, 4096),
    ("Llama-3-8B-Instruct", "eagle"): Network(0.777e9, 1.553e9, 1, 4096, 4096),
    (_LLAMA_8B, "eagle3"): Network(0.416e9, 0.832e9, 1, 4096, 4096),
    (_LLAMA_70B, "eagle"): Network(2.04e9, 4.08e9, 1, 8192, 4096),
    (_LLAMA_70B, "Llama-3.2-1B"): Network(1.236e9, 2.47e9, 16, 2048, 32_768),
    (_QWEN_27B, "mtp-bf16"): Network(1.72e9, 3.44e9, 1, 5120, 4096),
    (_QWEN_27B, "mtp-int8"): Network(0.65e9, 0.86e9, 1, 5120, 4096),
    (_QWEN_27B, "mtp-int8-int4-head"): Network(0.65e9, 0.55e9, 1, 5120, 4096),
    (_QWEN_27B, "mtp-int4"): Network(0.65e9, 0.33e9, 1, 5120, 4096),
    (_DEEPSEEK, "mtp"): Network(1.5e9, 1.1e9, 1, 7168, 1152, expert_bytes=11.3e9, active_share=8 / 256),
}
"""One layer, the projection that joins its inputs, and the output head (EAGLE-3: of 32,000 tokens)."""


@dataclass(frozen=True, slots=True)
class Point:
    """One published speed-up."""

    id: str
    source: str
    target: str
    method: str
    draft: str
    gpu: str
    tensor_parallel: int
    requests: float
    tokens: int
    dataset: str
    load: Load
    acceptance_length: float | None
    acceptance_from: str
    speedup: float

    @property
    def curve(self) -> tuple[str, str, str, int]:
        """What only the load changes."""
        return self.target, self.method, self.dataset, self.tokens


@dataclass(frozen=True, slots=True)
class Judged:
    """One prediction of a point."""

    point: Point
    predicted: Interval
    is_carried: bool
    """Its acceptance length was solved from the lightest load of its curve."""

    @property
    def error(self) -> float:
        """Relative."""
        return self.predicted.value / self.point.speedup - 1


def _point(row: dict[str, str]) -> Point:
    requests = float(row["requests"])
    load = Load(requests, float(row["context_tokens"]), float(row["prompt_tokens_per_output_token"]))
    known = float(row["acceptance_length"]) if row["acceptance_length"] else None
    names = {name: row[name] for name in ("id", "source", "target", "method", "draft", "gpu", "dataset")}
    return Point(
        **names,
        tensor_parallel=int(row["tensor_parallel"]),
        requests=requests,
        tokens=int(row["k"]),
        load=load,
        acceptance_length=known,
        acceptance_from=row["acceptance_from"],
        speedup=float(row["speedup"]),
    )


@lru_cache(maxsize=1)
def read_points() -> tuple[tuple[Point, ...], Counter[str]]:
    """The points that can be predicted, and how many cannot, by reason."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = tuple(csv.DictReader(file))
    return (
        tuple(_point(row) for row in rows if not row["left_out"]),
        Counter(row["left_out"] for row in rows if row["left_out"]),
    )


def _predict(point: Point, acceptance_length: float, constants: Constants) -> Interval:
    draft = DRAFTS[point.target, point.draft] if point.draft else None
    drafting = Drafting(point.tokens, acceptance_length, draft)
    hardware = Hardware(GPUS[point.gpu], point.tensor_parallel)
    return predict_speedup(TARGETS[point.target], hardware, point.load, drafting, constants)


def implied_acceptance_length(point: Point, constants: Constants = CONSTANTS) -> float:
    """That at which the prediction is what was measured."""
    length = point.speedup
    for _ in range(30):
        length *= point.speedup / _predict(point, length, constants).value
    return length


def judge(points: Iterable[Point], constants: Constants = CONSTANTS) -> list[Judged]:
    """Every point from its acceptance length; and the heavier loads of a curve from its lightest one."""
    judged, carried = [], dict[tuple[str, str, str, int], float]()
    for point in points:
        if point.acceptance_length is not None:
            judged.append(Judged(point, _predict(point, point.acceptance_length, constants), is_carried=False))
        if point.curve in carried:
            judged.append(Judged(point, _predict(point, carried[point.curve], constants), is_carried=True))
        elif point.source == FITTED_SOURCE:
            carried[point.curve] = implied_acceptance_length(point, constants)
    return judged


def mean_error(judged: Sequence[Judged]) -> float:
    """Mean absolute relative error."""
    return statistics.fmean(abs(one.error) for one in judged)


def wrong_signs(judged: Iterable[Judged]) -> list[Judged]:
    """Those on the wrong side of 1 although the effect is above 5 %."""
    return [
        one
        for one in judged
        if abs(one.point.speedup - 1) > 0.05 and (one.predicted.value - 1) * (one.point.speedup - 1) <= 0
    ]


def fit(points: Sequence[Point], rounds: int = 6) -> Constants:
    """The constants that are best for these points: one at a time, in shrinking steps, from the published ones."""
    found = Constants(0.76, 0.77, 1.0, 1.207e-3, 0.15e-3, 20e-6, 1.0)
    best, step = mean_error(judge(points, found)), 0.3
    for _ in range(rounds):
        for field in fields(Constants):
            for factor in (1 + step, 1 / (1 + step)):
                moved = replace(found, **{field.name: getattr(found, field.name) * factor})
                if max(moved.bandwidth_efficiency, moved.compute_efficiency) > 1 or moved.overlap < 1:
                    continue
                error = mean_error(judge(points, moved))
                if error < best:
                    found, best = moved, error
        step *= 0.7
    return found


def without_own_kind(kind: Callable[[Point], object]) -> list[Judged]:
    """Every fitted point predicted with constants that never saw one of its kind."""
    points = [point for point in read_points()[0] if point.source == FITTED_SOURCE]
    judged: list[Judged] = []
    for value in dict.fromkeys(kind(point) for point in points):
        constants = fit([point for point in points if kind(point) != value])
        judged += [one for one in judge(points, constants) if kind(one.point) == value]
    return judged


def is_eagle_class(point: Point) -> bool:
    """EAGLE, EAGLE-3 and the heads of the model itself."""
    return point.method in {"eagle", "eagle3", "mtp"}


_PUBLISHED = {"eagle3": 0.064, "eagle": 0.090, "ngram": 0.124}
"""Mean absolute errors on the Llama-3.1-8B points with the constants that were published with them."""


def _row_key(one: Judged) -> tuple[str, str, str, str]:
    how = "its lightest load" if one.is_carried else one.point.acceptance_from
    source = "2601.11580" if one.point.source == FITTED_SOURCE else one.point.source.removeprefix("https://")[:40]
    return source, one.point.target, one.point.method, how


def _percent(judged: Sequence[Judged]) -> str:
    return f"{100 * mean_error(judged):.1f} %" if judged else ""


def summary(judged: Sequence[Judged], left_out: Counter[str]) -> str:
    """The errors by class, from known and from carried acceptance lengths, and what could not be predicted."""
    lines = []
    for name, belongs in (("EAGLE class", is_eagle_class), ("n-gram", lambda point: point.method == "ngram")):
        ours = [one for one in judged if belongs(one.point)]
        known, carried = ([one for one in ours if one.is_carried is is_carried] for is_carried in (False, True))
        lines.append(
            f"{name}: {_percent(ours)}; {len(known)} from the acceptance length {_percent(known)}, "
            f"{len(carried)} from the lightest load of their curve {_percent(carried)}."
        )
    inside = sum(one.predicted.low <= one.point.speedup <= one.predicted.high for one in judged)
    lines += (
        f"{inside} of {len(judged)} inside the interval.",
        f"{len(wrong_signs(judged))} on the wrong side of 1 where the effect is above 5 %.",
        f"Left out, {left_out.total()}:",
        *(f"  {count:2} {reason}" for reason, count in left_out.most_common()),
    )
    return "\n".join(lines)


def print_speedup(console: Console) -> None:
    """Print errors by source, method and where the acceptance length is from; then what was left out."""
    points, left_out = read_points()
    judged = judge(points)
    by_dataset, by_load = without_own_kind(lambda point: point.dataset), without_own_kind(lambda point: point.requests)
    table = Table(box=None, pad_edge=False, title="Speed-up: mean absolute error", title_justify="left")
    for name in ("source", "target", "method", "acceptance from"):
        table.add_column(name, no_wrap=True)
    for name in ("points", "error", "worst", "w/o data set", "w/o batch", "published"):
        table.add_column(name, justify="right")
    for key in dict.fromkeys(_row_key(one) for one in judged):
        ours, others = ([one for one in many if _row_key(one) == key] for many in (judged, by_dataset))
        loads = [one for one in by_load if _row_key(one) == key]
        worst = max((one.error for one in ours), key=abs)
        is_reference = "8B" in key[1] and key[0] == "2601.11580" and not key[3].startswith("its")
        published = f"{100 * _PUBLISHED[key[2]]:.1f} %" if is_reference else ""
        numbers = (_percent(ours), f"{100 * worst:+.1f} %", _percent(others), _percent(loads), published)
        table.add_row(*key, str(len(ours)), *numbers)
    console.print(table)
    console.print(summary(judged, left_out), highlight=False, soft_wrap=True, markup=False)
