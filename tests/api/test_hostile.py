"""Specs that nobody would write, and what is said of them. What else is hostile is in tests/security."""

from typing import Any

import pytest
from builders import body

from specdecode.api.resource import Metadata, Problem, Rejection, parse


def problems(**overrides: Any) -> tuple[Problem, ...]:
    found = parse(body(**overrides))
    assert isinstance(found, Rejection)
    return found.problems


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "spec", [deep(60), {"model": deep(10_000)}, {"x": [[]] * 60_000}], ids=["levels", "more", "values"]
)
def test_more_than_a_spec_can_have(spec: Any) -> None:
    (problem,) = problems(spec=spec)
    assert problem.field == "spec"
    assert "has more than 50000 values or 50 levels" in problem.message


def test_the_first_twenty_problems_are_told() -> None:
    unknown = {f"spec.x{number}": 1 for number in range(100)}
    found = problems(**unknown)
    assert len(found) == 21
    assert found[-1] == Problem("spec", "", "80 more problems; mend these first")


def test_a_number_that_nobody_can_write() -> None:
    (problem,) = problems(**{"spec.replicas": 16**10_000})
    assert (problem.field, problem.value) == ("spec.replicas", "a number of thousands of digits")


def test_a_kind_that_is_no_text() -> None:
    (problem,) = problems(kind=["x"], apiVersion={"a": "b"})
    assert (problem.field, problem.value) == ("kind", "None/None")


def test_a_problem_is_always_one_line() -> None:
    problem = Problem("a\nb", "\x1b[2J" + "x" * 1000, "c\u2028d")
    assert str(problem) == f"a b is [2J{'x' * 296}…: c d"


@pytest.mark.parametrize("value", ["2026-11-22T12:00:00Z", "again", "x" * 128])
def test_a_retry_is_known_by_its_value(value: str) -> None:
    assert Metadata(name="x", annotations={"specdecode.io/retry": value}).retry == value


@pytest.mark.parametrize("value", ["x" * 200_000, "a\nb", "\x1b[2J"])
def test_a_retry_that_status_should_not_keep_is_known_by_its_digest(value: str) -> None:
    kept = Metadata(name="x", annotations={"specdecode.io/retry": value}).retry
    assert len(kept) == 10
    assert kept.isalnum()
    assert kept != Metadata(name="x", annotations={"specdecode.io/retry": value + "x"}).retry
