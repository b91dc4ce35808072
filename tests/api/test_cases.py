"""The types' verdict on every good and bad resource; tests/system holds the API server to the same."""

import pytest
from api.cases import BAD, GOOD, Case

from specdecode.api.resource import Rejection, SpecDecodeDeployment, parse


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.sentence)
def test_good(case: Case) -> None:
    parsed = parse(case.body())
    assert isinstance(parsed, SpecDecodeDeployment), str(parsed)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.sentence)
def test_bad(case: Case) -> None:
    rejection = parse(case.body())
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "InvalidSpec"
    for words in case.says:
        assert words in str(rejection)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.sentence)
def test_a_refusal_names_a_field_that_a_person_finds_in_the_file(case: Case) -> None:
    rejection = parse(case.body())
    assert isinstance(rejection, Rejection)
    assert all(problem.field.startswith(("spec", "metadata.name")) for problem in rejection.problems)
    assert all(problem.message for problem in rejection.problems)


def test_sentences_are_unique() -> None:
    sentences = [case.sentence for case in (*GOOD, *BAD)]
    assert sorted(set(sentences)) == sorted(sentences)
