"""The status goes to the wire and back without a loss."""

from datetime import UTC, datetime

import pytest
from api.samples import STATUS
from pydantic import ValidationError

from specdecode.api.status import ConditionStatus, ConditionType, SpecDecodeDeploymentStatus, rfc3339


def read() -> SpecDecodeDeploymentStatus:
    return SpecDecodeDeploymentStatus.model_validate(STATUS)


def test_the_full_status_survives_the_way_there_and_back() -> None:
    assert read().to_wire() == STATUS
    assert SpecDecodeDeploymentStatus.model_validate(read().to_wire()) == read()


def test_the_sample_sets_every_field() -> None:
    """Otherwise the way there and back proves less than it says."""
    assert set(STATUS) == {field.alias for field in SpecDecodeDeploymentStatus.model_fields.values()}


def test_nothing_is_written_as_nothing() -> None:
    empty = {name: [] for name in ("calibration", "findings", "history", "conditions")}
    assert SpecDecodeDeploymentStatus().to_wire() == empty


@pytest.mark.parametrize("size", ["", "30Gi", "1.5Mi", "Mi", "30720Mi or so"])
def test_a_size_that_later_plans_could_not_read_back_is_refused(size: str) -> None:
    bad = {**STATUS["calibration"][0], "nonKvCache": size}
    with pytest.raises(ValidationError):
        SpecDecodeDeploymentStatus.model_validate({"calibration": [bad]})


def test_fields_of_another_version_are_dropped() -> None:
    assert SpecDecodeDeploymentStatus.model_validate(STATUS | {"mood": "good"}) == read()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (ConditionType.READY, ConditionStatus.TRUE),
        (ConditionType.SPECULATION_ACTIVE, ConditionStatus.FALSE),
        (ConditionType.METRICS_AVAILABLE, ConditionStatus.UNKNOWN),
    ],
)
def test_a_condition_is_found_by_its_type(kind: ConditionType, status: ConditionStatus) -> None:
    condition = read().condition(kind)
    assert condition is not None
    assert condition.status is status


def test_a_condition_that_was_never_written() -> None:
    assert SpecDecodeDeploymentStatus().condition(ConditionType.READY) is None


def test_times_are_written_in_whole_seconds_of_utc() -> None:
    assert rfc3339(datetime(2026, 11, 22, 12, 0, 0, 999_999, tzinfo=UTC)) == "2026-11-22T12:00:00Z"
