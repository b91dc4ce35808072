"""The reference pages hold what the code holds: no field, reason, annotation or label more, none less."""

import pytest
from docs.fields import FILE, reference
from docs.pages import ROOT, Page, rows, words
from docs.reasons import advised, annotations_and_labels, refused, written
from gitops.states import STATES, state

from specdecode.api.schema import custom_resource_definition

STATUS = Page(ROOT / "docs" / "reference-status.md")
SECTIONS = STATUS.sections()
REFUSAL = "*refusal*"


def test_the_fields_are_those_of_the_types() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), "make docs"


def test_every_field_of_the_crd_has_a_row() -> None:
    root = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    text = reference()
    for name in [*root["spec"]["properties"]["engine"]["properties"], *root["status"]["properties"]]:
        assert f"`{name}`" in text


def test_every_reason_that_can_be_written_is_explained() -> None:
    explained = {word for text in SECTIONS.values() for row in rows(text) for cell in row for word in words(cell)}
    assert written() - explained == set()


def test_every_condition_and_event_reason_that_is_explained_can_be_written() -> None:
    columns = {"Conditions": 2, "Refusals": 0, "The guard's rules": 0, "After a step down": 0}
    named = {word for title, column in columns.items() for row in rows(SECTIONS[title]) for word in words(row[column])}
    assert named - written() == set()


def test_every_refusal_has_its_row() -> None:
    assert {word for row in rows(SECTIONS["Refusals"]) for word in words(row[0])} == refused()


def test_every_advice_has_its_row() -> None:
    assert {word for row in rows(SECTIONS["Advice of the plan"]) for word in words(row[0])} == advised()


def test_every_annotation_and_label_has_its_row() -> None:
    named = {word for row in rows(SECTIONS["Annotations and labels"]) for word in words(row[0])}
    assert named - {"kustomize.toolkit.fluxcd.io/reconcile"} == annotations_and_labels()


def _explained() -> set[tuple[str, str, str]]:
    """Condition, status and reason of the table's rows; *refusal* for all of them."""
    found = set()
    for kind, statuses, reasons, *_ in rows(SECTIONS["Conditions"]):
        named = {*words(reasons), *(refused() if REFUSAL in reasons else ())}
        found |= {(words(kind)[0], status.strip(), reason) for status in statuses.split(",") for reason in named}
    return found


@pytest.mark.parametrize("name", STATES)
def test_every_condition_of_every_state_has_its_row(name: str) -> None:
    conditions = (state(name).get("status") or {}).get("conditions", [])
    assert {(each["type"], each["status"], each["reason"]) for each in conditions} - _explained() == set()
