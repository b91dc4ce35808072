"""Resources that nobody wrote, against the laws; and operators with a fault in them, which the laws must catch."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from fuzz.laws import check
from fuzz.patterns import matching
from fuzz.resources import GOOD_SPECS, Generator, Spec, body_of

from specdecode.api.values import DURATION, IMAGE, LABEL_KEY
from specdecode.engine.flags import BatchLimit
from specdecode.judge import Outcome
from specdecode.status import Visit, next_status

Kind = Callable[[Generator], Spec]


@pytest.mark.parametrize("pattern", [DURATION, IMAGE, LABEL_KEY])
def test_generated_text_is_what_the_pattern_allows(pattern: str) -> None:
    made = {matching(pattern, Generator(seed).rng) for seed in range(50)}
    assert len(made) > 40
    assert [text for text in made if not re.fullmatch(pattern, text)] == []


@pytest.mark.parametrize("number", range(len(GOOD_SPECS)))
def test_what_the_fuzz_begins_with_is_good(number: int) -> None:
    assert check(body_of(GOOD_SPECS[number])) in ("planned", "DoesNotFit")


def _became(kind: Kind, seeds: Iterable[int]) -> Counter[str]:
    """What became of the resources of some seeds. The seed of one that breaks a law is told."""
    became: Counter[str] = Counter()
    for seed in seeds:
        spec = kind(Generator(seed))
        try:
            became[check(body_of(spec))] += 1
        except Exception as error:
            raise AssertionError(f"Generator({seed}).{kind.__name__}() = {spec!r}") from error
    return became


def test_good_resources_with_other_values() -> None:
    became = _became(Generator.changed, range(400))
    assert became["planned"] > 60, became  # else the laws on objects see nothing
    assert became["InvalidSpec"] > 50, became
    assert len(became) > 8, became


def test_resources_from_nothing_but_the_schema() -> None:
    became = _became(Generator.generated, range(300))
    assert len(became) > 2, became


def test_resources_with_junk_in_them() -> None:
    became = _became(Generator.broken, range(400))
    assert became["InvalidSpec"] > 200, became


# --- operators with a fault ---


def _silent(visit: Visit) -> Outcome:
    return Outcome(visit.metadata, visit.old, visit.old, None, None)


def _never_settled(visit: Visit) -> Any:
    generation = (visit.old.observed_generation or 0) + 1
    return next_status(visit).model_copy(update={"observed_generation": generation})


def _always_by_size(*_: Any) -> BatchLimit:
    return BatchLimit.BY_BATCH_SIZE


Fault = tuple[str, Callable[..., Any]]
FAULTS: dict[str, Fault] = {
    "no rule on values and fields is checked": ("specdecode.api.base.check", lambda *_: None),
    "every argument may be set": ("specdecode.api.arguments.is_refused_argument", lambda _: False),
    "every variable may be set": ("specdecode.api.arguments.is_refused_variable", lambda _: False),
    "arguments are not held against the release": ("specdecode.plan.checks.extra_argument_problem", lambda *_: None),
    "the release's keys are not looked up": (
        "specdecode.engine.arguments.batch_limit",
        lambda *_: BatchLimit.BY_BATCH_SIZE,
    ),
    "a refusal is kept for itself": ("specdecode.judge._refused", _silent),
    "keys of labels are not looked at": ("specdecode.api.podtemplate._is_label_key", lambda _: True),
    "status changes at every look": ("specdecode.judge.next_status", _never_settled),
    "foreign words are told as they are": ("specdecode.api.resource.plain", lambda text, _: text),
    "what is wrong is not told": ("specdecode.api.resource.problems_of", lambda *_: ()),
}


def _changed_or_broken(generator: Generator) -> Spec:
    return generator.changed() if generator.rng.random() < 0.5 else generator.broken()


@pytest.mark.parametrize("fault", FAULTS)
def test_an_operator_with_a_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, instead = FAULTS[fault]
    monkeypatch.setattr(place, instead)
    with pytest.raises(AssertionError):
        _became(_changed_or_broken, range(1200))
