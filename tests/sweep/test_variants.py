"""Which engines a file is started as."""

from typing import Any

import pytest
from builders import ABSENT, resource

from specdecode.api.resource import Problem, SpecDecodeDeployment
from specdecode.api.vocabulary import Mode
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan
from specdecode.sweep.variants import read_modes, variants_of, with_numbers


def plan_of(found: SpecDecodeDeployment) -> Plan:
    plan = make_plan(found)
    assert isinstance(plan, Plan), str(plan)
    return plan


def names(numbers: tuple[int, ...], modes: tuple[Mode, ...], **overrides: Any) -> list[str] | Problem:
    changed = with_numbers(resource(**overrides), numbers)
    if isinstance(changed, Problem):
        return changed
    found = variants_of([(number, plan_of(each)) for number, each in changed], modes)
    return found if isinstance(found, Problem) else [variant.name for variant in found]


@pytest.mark.parametrize(
    ("numbers", "modes", "expected"),
    [
        pytest.param((), (), ["Off", "QuantizedDraft-5"], id="the requested mode, and none to compare it with"),
        pytest.param((1, 3), (), ["Off", "QuantizedDraft-1", "QuantizedDraft-3"], id="Off has no number and runs once"),
        pytest.param((1, 3), (Mode.NGRAM, Mode.DRAFT), ["NGram-1", "Draft-1", "NGram-3", "Draft-3"], id="as named"),
        pytest.param((), (Mode.DRAFT, Mode.OFF), ["Off", "Draft-5"], id="Off is always first"),
    ],
)
def test_what_is_started(numbers: tuple[int, ...], modes: tuple[Mode, ...], expected: list[str]) -> None:
    assert names(numbers, modes) == expected


def test_the_flags_are_those_of_the_number() -> None:
    changed = with_numbers(resource(), (2,))
    assert not isinstance(changed, Problem)
    (number, found), *_ = changed
    config = next(text for text in plan_of(found).requested.arguments if text.startswith("--speculative-config"))
    assert number == 2
    assert '"num_speculative_tokens":2' in config


@pytest.mark.parametrize(
    ("numbers", "modes", "overrides", "sentence"),
    [
        pytest.param((), (Mode.NGRAM,), {"spec.speculation.fallbacks": []}, "not on the ladder", id="no such rung"),
        pytest.param((3,), (), {"spec.speculation": ABSENT}, "needs spec.speculation", id="nothing speculates"),
        pytest.param((65,), (), {}, "less than or equal to 64", id="more than any engine takes"),
        pytest.param(
            (),
            (),
            {
                "spec.model": {"name": "meta-llama/Llama-3.1-70B-Instruct"},
                "spec.speculation.draft": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
                "spec.speculation.fallbacks": [],
            },
            "does not fit: short by",
            id="what does not fit is not started",
        ),
    ],
)
def test_what_is_not_started(
    numbers: tuple[int, ...], modes: tuple[Mode, ...], overrides: dict[str, Any], sentence: str
) -> None:
    found = names(numbers, modes, **overrides)
    assert isinstance(found, Problem)
    assert sentence in str(found)


@pytest.mark.parametrize(
    ("text", "modes"),
    [
        pytest.param(None, (), id="not told"),
        pytest.param("Draft, Off,Draft", (Mode.DRAFT, Mode.OFF), id="each once"),
    ],
)
def test_modes(text: str | None, modes: tuple[Mode, ...]) -> None:
    assert read_modes(text) == modes


@pytest.mark.parametrize("text", ["draft", "", "Draft,,Off"])
def test_modes_that_are_none(text: str) -> None:
    found = read_modes(text)
    assert isinstance(found, Problem)
    assert "QuantizedDraft, Draft, NGram, Off" in found.message
