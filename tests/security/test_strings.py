"""Any text in any field of a resource: refused by a sentence that names the field, or exactly one value in exactly one
place of what is applied, rendered and said.
"""

import json
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from security.fields import TextField, text_fields
from security.grammar import read_arguments
from security.hostile import HOSTILE, hostile_text, unsafe_in_a_line
from security.placed import full, named, placed
from security.spoken import spoken

from specdecode.api.resource import Rejection, parse
from specdecode.cli.output import yaml_text
from specdecode.judge import Prepared, prepare
from specdecode.manifests.build import Options

FIELDS = text_fields()
OPTIONS = Options(pod_monitor=True, pod_monitor_labels=(("release", "prometheus"),))
MARKERS = ("marker9x", "MARKER9X", "marker9x/marker9x", "marker9x.io/marker9x")
"""Plain words, one of which every field takes that hands its text on as it is."""
HASHES = {"specdecode.io/intent-hash", "specdecode.io/spec-hash"}
SPOKEN_BYTES = 4096


def objects_of(prepared: Prepared) -> list[dict[str, Any]]:
    return [body for objects in prepared.objects.values() for body in objects.all()]


def arguments_of(body: dict[str, Any]) -> list[str]:
    return list(body["spec"]["template"]["spec"]["containers"][0]["args"])


def _masked(node: Any, old: str, new: str) -> Any:
    """`node` with one text in place of another, as a whole value, as a whole argument and inside of JSON arguments."""
    if isinstance(node, dict):
        return {
            (new if key == old else key): "hash" if key in HASHES else _masked(value, old, new)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_masked(item, old, new) for item in node]
    return _masked_text(node, old, new) if isinstance(node, str) else node


def _masked_text(text: str, old: str, new: str) -> str:
    name, equals, value = text.partition("=")
    if name == "--speculative-config":
        config = _masked(json.loads(value), old, new)
        return f"{name}={json.dumps(config, sort_keys=True, separators=(',', ':'))}"
    if text.startswith("--") and equals and value == old:
        return f"{name}={new}"
    return new if text == old else text


@cache
def marked(field: TextField) -> tuple[str, list[dict[str, Any]]] | None:
    """A plain word that the field takes, and what is made of it; None: none of them says anything there."""
    for marker in MARKERS:
        body = placed(field, marker)
        if isinstance(parse(body), Rejection):
            continue
        prepared = prepare(body, OPTIONS)
        if prepared.refusal is None and marker in json.dumps(objects_of(prepared)):
            return marker, objects_of(prepared)
    return None


def check(field: TextField, text: str) -> bool:
    """The law; True where the text was taken."""
    body = placed(field, text)
    prepared = prepare(body, OPTIONS)
    for sentence in spoken(prepared, body):
        assert not unsafe_in_a_line(sentence), sentence
        assert len(sentence) <= SPOKEN_BYTES
    if prepared.refusal is not None:
        fields = [problem.field for problem in prepared.refusal.problems]
        if prepared.resource is None:
            assert any(found.startswith(named(field)) for found in fields), (str(field), fields)
        said = str(prepared.refusal)
        assert not unsafe_in_a_line(said), said
        assert len(said) <= SPOKEN_BYTES
        return False
    made = objects_of(prepared)
    for deployment in (each for each in made if each["kind"] == "Deployment"):
        assert prepared.plan is not None
        read_arguments(prepared.plan.engine_version, arguments_of(deployment))
    main = next(iter(prepared.objects.values())).deployment
    written = yaml_text((main,))
    assert yaml.safe_load(written) == main
    assert not unsafe_in_a_line(written.replace("\n", ""))
    reference = marked(field)
    if reference is not None:
        marker, expected = reference
        assert _masked(made, "", "") == _masked(expected, marker, text)
    return True


def test_the_full_resource_is_accepted_and_fits() -> None:
    prepared = prepare(full(), OPTIONS)
    assert prepared.refusal is None, str(prepared.refusal)
    assert len(prepared.objects) == 3


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_every_hostile_text_in_every_field(field: TextField) -> None:
    # Where the words are given, one of each kind is as good as all.
    for text in HOSTILE[:: 5 if "enum" in field.schema else 1]:
        check(field, text)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FIELDS), hostile_text())
def test_any_text_in_any_field(field: TextField, text: str) -> None:
    check(field, text)


OBJECTS = sorted({field.path[:-1] for field in FIELDS if "*" not in field.path and "<key>" not in field.path})


@pytest.mark.parametrize("path", OBJECTS, ids=".".join)
def test_every_hostile_name_of_an_unknown_field(path: tuple[str, ...]) -> None:
    for text in HOSTILE:
        body = full()
        node: Any = body
        for part in path:
            node = node.setdefault(part, {})
        node[text] = text
        prepared = prepare(body, OPTIONS)
        assert prepared.refusal is not None
        assert any(problem.field.startswith(".".join(path)) for problem in prepared.refusal.problems)
        for sentence in (str(prepared.refusal), *spoken(prepared, body)):
            assert not unsafe_in_a_line(sentence), sentence
            assert len(sentence) <= SPOKEN_BYTES


@pytest.mark.parametrize("name", ["labels", "annotations", "nodeSelector"])
def test_every_hostile_key_of_a_value_that_is_refused(name: str) -> None:
    for text in HOSTILE:
        body = full()
        body["spec"]["podTemplate"][name] = {text: "\x1b[31m" * 1000}
        refusal = prepare(body, OPTIONS).refusal
        assert refusal is not None
        assert refusal.problems[0].field.startswith(f"spec.podTemplate.{name}")
        assert not unsafe_in_a_line(str(refusal)), str(refusal)
        assert len(str(refusal)) <= SPOKEN_BYTES


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_every_hostile_name_of_a_resource(text: str) -> None:
    for field in ("apiVersion", "kind", "metadata.name", "metadata.namespace"):
        body = full()
        *parents, last = field.split(".")
        (body[parents[0]] if parents else body)[last] = text
        parsed = parse(body)
        if isinstance(parsed, Rejection):
            assert not unsafe_in_a_line(str(parsed)), str(parsed)
            assert len(str(parsed)) <= SPOKEN_BYTES
        else:
            assert field == "metadata.namespace" or text == getattr(parsed.metadata, last)
