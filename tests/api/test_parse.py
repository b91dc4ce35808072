"""Reading a resource: every problem at once, in words that a person can act on; never an exception."""

from collections.abc import Mapping
from typing import Any

import pytest
from builders import ABSENT, body

from specdecode.api.resource import Problem, Rejection, SpecDecodeDeployment, parse, read_metadata


def rejection(**overrides: Any) -> Rejection:
    parsed = parse(body(**overrides))
    assert isinstance(parsed, Rejection)
    return parsed


def test_all_problems_are_named_at_once() -> None:
    found = rejection(
        **{"metadata.name": "Llama", "spec.engine.maxModelLen": 0, "spec.guard.window": "5s", "spec.turbo": True}
    )
    assert [problem.field for problem in found.problems] == [
        "metadata.name",
        "spec.engine.maxModelLen",
        "spec.guard.window",
        "spec.turbo",
    ]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        pytest.param(
            {"spec.engine.maxModelLen": 0},
            "spec.engine.maxModelLen is 0: input should be greater than or equal to 1",
            id="the field, the value and what is allowed",
        ),
        pytest.param(
            {"spec.engine.image": ABSENT}, "spec.engine.image: is required; add it", id="a missing field has no value"
        ),
        pytest.param(
            {"spec.speculation.draft": ABSENT, "spec.speculation.fallbacks": ABSENT},
            "spec.speculation.draft: draft is required for this method; set spec.speculation.draft.name, or use method "
            "ngram, which needs none",
            id="a rule names the field that has to change, and the way out",
        ),
        pytest.param(
            {"spec.model.name": "a" * 201},
            f'spec.model.name is "{"a" * 76}...: must be at most 200 characters',
            id="a long value is cut",
        ),
        pytest.param(
            {"metadata.name": ABSENT, "metadata.generateName": "llama-"},
            "metadata.name: is required; add it",
            id="no name",
        ),
    ],
)
def test_a_problem_reads_as_a_sentence(overrides: Mapping[str, Any], sentence: str) -> None:
    assert str(rejection(**overrides)) == sentence


@pytest.mark.parametrize(
    ("document", "field"),
    [
        pytest.param({}, "kind", id="an empty document"),
        pytest.param({"apiVersion": "apps/v1", "kind": "Deployment"}, "kind", id="another kind"),
        pytest.param({"apiVersion": "specdecode.io/v9", "kind": "SpecDecodeDeployment"}, "kind", id="another version"),
        pytest.param(body() | {"metadata": None}, "metadata.name", id="no metadata"),
        pytest.param(body() | {"metadata": "llama"}, "metadata", id="metadata that is text"),
        pytest.param(body() | {"spec": None}, "spec.model", id="no spec"),
        pytest.param(body() | {"spec": ["model"]}, "spec", id="a spec that is a list"),
        pytest.param(body() | {"spec": "model"}, "spec", id="a spec that is text"),
    ],
)
def test_a_document_that_is_no_resource(document: Mapping[str, Any], field: str) -> None:
    parsed = parse(document)
    assert isinstance(parsed, Rejection)
    assert parsed.problems[0].field == field


def test_a_status_that_cannot_be_read_is_lost_and_not_fatal() -> None:
    """It is rebuilt from the record on the owned Deployment."""
    parsed = parse(body(status={"rollback": {"from": "Turbo"}}))
    assert isinstance(parsed, SpecDecodeDeployment)
    assert parsed.status.rollback is None


def test_metadata_keeps_what_the_operator_needs() -> None:
    metadata = read_metadata(body(**{"metadata.annotations": {"specdecode.io/paused": "true"}}))
    assert (metadata.namespace, metadata.name, metadata.generation) == ("serving", "llama-70b", 1)
    assert metadata.annotations == {"specdecode.io/paused": "true"}
    assert metadata.deletion_timestamp is None


def test_a_problem_without_a_value() -> None:
    assert str(Problem("spec.model.name", "", "is unknown")) == "spec.model.name: is unknown"
