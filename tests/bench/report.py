"""Everything `make bench` says, as one value; the tables and the tests read it."""

from collections.abc import Mapping
from dataclasses import dataclass

from specdecode.api.resource import Rejection, SpecDecodeDeployment

from .assumptions import END_TO_END, Group
from .measured import read_rows
from .pairs import ColdStart, Effect, cold_start, effects
from .rows import SHARED_BY_RANKS, Row, row_of
from .score import (
    Predicted,
    Prediction,
    Summary,
    called_fitting,
    called_impossible,
    has_verdict,
    is_exact,
    predict,
    summarise,
)


@dataclass(frozen=True)
class Report:
    """The plan against every measured row."""

    rows: tuple[Row, ...]
    predicted: Mapping[str, Predicted]
    """By row id; skipped rows are not in it."""
    summaries: tuple[Summary, ...]
    """One per group of known inputs, then all of them together."""
    effects: tuple[Effect | str, ...]
    cold: ColdStart | None

    @property
    def end_to_end(self) -> tuple[Row, ...]:
        """Rows whose KV cache is compared in GiB."""
        return tuple(row for row in self.rows if row.group in END_TO_END)

    @property
    def with_bytes(self) -> tuple[Row, ...]:
        """Rows that say both GiB and tokens, of models whose layers are known."""
        return tuple(
            row
            for row in self.rows
            if row.group is not Group.SKIPPED
            and row.measured.kv_cache_gib is not None
            and row.measured.kv_cache_tokens is not None
        )

    @property
    def exact(self) -> tuple[str, ...]:
        """Rows whose tokens follow exactly from the planned bytes per token."""
        return tuple(row.measured.id for row in self.with_bytes if self._is_exact(row))

    @property
    def inexact(self) -> tuple[str, ...]:
        """Rows whose tokens do not follow, without those that print two different ranks."""
        exact = set(self.exact) | set(SHARED_BY_RANKS)
        return tuple(row.measured.id for row in self.with_bytes if row.measured.id not in exact)

    def _is_exact(self, row: Row) -> bool:
        found = self.predicted[row.measured.id]
        return isinstance(found, Prediction) and is_exact(found.mode, row.measured)

    @property
    def with_verdict(self) -> tuple[Row, ...]:
        """Rows that say whether the engine found room, on a known card."""
        return tuple(row for row in self.rows if has_verdict(row))

    @property
    def impossible(self) -> tuple[str, ...]:
        """Rows that started and were called impossible."""
        return tuple(
            row.measured.id for row in self.with_verdict if called_impossible(row, self.predicted[row.measured.id])
        )

    @property
    def fitting(self) -> tuple[str, ...]:
        """Rows that found no room and were called fitting."""
        return tuple(
            row.measured.id for row in self.with_verdict if called_fitting(row, self.predicted[row.measured.id])
        )

    @property
    def refused(self) -> Mapping[str, Rejection]:
        """Rows that could be planned by what they state, and were refused."""
        return {name: found for name, found in self.predicted.items() if isinstance(found, Rejection)}

    @property
    def resources(self) -> tuple[SpecDecodeDeployment, ...]:
        """Of every row that was planned."""
        planned = [found.row.asked for found in self.predicted.values() if isinstance(found, Prediction)]
        return tuple(asked for asked in planned if isinstance(asked, SpecDecodeDeployment))


def _predictions(rows: tuple[Row, ...], predicted: Mapping[str, Predicted]) -> list[Prediction]:
    found = (predicted[row.measured.id] for row in rows)
    return [prediction for prediction in found if isinstance(prediction, Prediction)]


def _summaries(rows: tuple[Row, ...], predicted: Mapping[str, Predicted]) -> tuple[Summary, ...]:
    groups = {str(group): tuple(row for row in rows if row.group is group) for group in END_TO_END}
    groups["all of them"] = tuple(row for row in rows if row.group in END_TO_END)
    planned = {title: _predictions(members, predicted) for title, members in groups.items()}
    return tuple(summarise(title, members) for title, members in planned.items() if members)


def make_report() -> Report:
    """Read, plan, compare."""
    rows = tuple(row_of(measured) for measured in read_rows())
    predicted = {row.measured.id: predict(row) for row in rows if row.group is not Group.SKIPPED}
    return Report(rows, predicted, _summaries(rows, predicted), effects(predicted), cold_start(predicted))
