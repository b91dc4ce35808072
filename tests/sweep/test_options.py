"""The grid, how much it sends, and which saved run is a baseline for it."""

from dataclasses import replace

import pytest

from specdecode.api.resource import Problem
from specdecode.sweep.options import Grid, amount_of, comparable, read_numbers, read_whole_numbers
from specdecode.sweep.prompts import Kind, Prompt

GRID = Grid(
    kinds=(Kind("code", (Prompt("abc"), Prompt("de"))),),
    temperatures=(0.0, 1.0),
    concurrencies=(1, 4),
    requests=10,
    max_tokens=20,
    warm_up=2,
    seed=0,
    timeout_seconds=60.0,
)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        pytest.param("0,0.4, 1.0", (0.0, 0.4, 1.0), id="several"),
        pytest.param("1,1.0,1", (1.0,), id="the same again is one"),
        pytest.param("-0", (0.0,), id="minus nothing is nothing"),
    ],
)
def test_numbers(text: str, numbers: tuple[float, ...]) -> None:
    found = read_numbers("--temperature", text, 0, 2)
    assert found == numbers
    assert str(found) == str(numbers)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "nothing is none", id="an empty grid"),
        pytest.param("1,,2", "nothing is none", id="a comma too many"),
        pytest.param("hot", "hot is none", id="a word"),
        pytest.param("nan", "nan is outside", id="no number"),
        pytest.param("0.5", "0.5 is outside", id="too small"),
        pytest.param("1.5", "whole numbers; 1.5 is none", id="half a request"),
        pytest.param("99999", "from 1 to 64", id="too large"),
    ],
)
def test_numbers_that_are_refused(text: str, sentence: str) -> None:
    found = read_whole_numbers("--concurrency", text, 1, 64)
    assert isinstance(found, Problem)
    assert sentence in found.message


def test_the_amount_counts_everything_that_is_sent() -> None:
    cells = list(GRID.cells("Draft", 3))
    assert len(cells) == 4
    amount = amount_of(GRID, cells)
    assert amount.requests == 4 * 12
    assert amount.output_tokens == 4 * 12 * 20
    assert amount.prompt_characters == 4 * 6 * (3 + 2)
    assert str(amount) == "48 requests with 120 characters of prompts and at most 960 output tokens"


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        pytest.param({}, None, id="the same"),
        pytest.param({"temperatures": (0.0,), "requests": 99, "warm_up": 0}, None, id="another part of the grid"),
        pytest.param({"max_tokens": 21}, "--max-tokens 21, this run has 20", id="longer answers"),
        pytest.param({"seed": 1}, "--seed 1", id="other seeds"),
        pytest.param({"kinds": (Kind("code", (Prompt("x"),)),)}, "other prompts of the kind code", id="other prompts"),
        pytest.param({"kinds": (Kind("chat", (Prompt("x"),)),)}, "none of code", id="other kinds"),
    ],
)
def test_a_baseline_must_have_asked_the_same(other: dict[str, object], sentence: str | None) -> None:
    found = comparable("--baseline", "old", replace(GRID, **other).asked(), GRID)  # type: ignore[arg-type]  # by name
    assert (found is None) == (sentence is None)
    assert found is None or sentence is None or sentence in found.message


def test_whatever_changes_the_run_changes_what_is_asked() -> None:
    changes: tuple[dict[str, object], ...] = (
        {"kinds": (Kind("code", (Prompt("abc"), Prompt("df"))),)},
        {"temperatures": (0.0,)},
        {"concurrencies": (1,)},
        {"requests": 11},
        {"max_tokens": 21},
        {"warm_up": 1},
        {"seed": 1},
        {"timeout_seconds": 61.0},
    )
    asked = [replace(GRID, **change).asked() for change in changes]  # type: ignore[arg-type]  # fields by name
    assert all(each != GRID.asked() for each in asked)
