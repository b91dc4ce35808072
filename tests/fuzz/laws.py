"""What holds for every resource, whatever is in it: nothing is raised, every refusal is seen, and what would be applied
is what the engine and the API server take.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from builders import NOW
from fuzz.resources import DANGEROUS
from gitops.states import Walk, collapsed
from security.grammar import read_arguments
from security.hostile import unsafe_in_a_line

from specdecode import judge as judging
from specdecode.api.arguments import RENDERED_ARGUMENTS
from specdecode.api.resource import Rejection
from specdecode.api.schema import custom_resource_definition
from specdecode.api.status import ConditionStatus, ConditionType, SpecDecodeDeploymentStatus
from specdecode.api.values import LABEL_KEY
from specdecode.api.vocabulary import CACHE_MOUNT
from specdecode.decide.facts import Availability, Measurement
from specdecode.judge import Outcome, Prepared, Seen
from specdecode.manifests.build import Options
from specdecode.manifests.names import METER_MOUNT
from specdecode.meter import MIDDLEWARE

Body = dict[str, Any]
OPTIONS = Options(pod_monitor=True)
_NOTHING = Measurement(Availability.NO_DATA, "nothing was measured yet")
_LOADS_CODE = {name for name in DANGEROUS if name not in RENDERED_ARGUMENTS and name != "middleware"}
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.\-]{0,61}[A-Za-z0-9])?)?")
_STATUS = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict,
}  # fmt: skip


def _stray(schema: Mapping[str, Any], value: Any) -> str:
    """What is wrong with a value itself, in a word."""
    if not isinstance(value, _TYPES[schema["type"]]):
        return f"no {schema['type']}"
    if "enum" in schema and value not in schema["enum"]:
        return f"none of {schema['enum']}"
    size = len(value) if isinstance(value, (str, list)) else 0
    if size > schema.get("maxLength", size) or size > schema.get("maxItems", size):
        return "too long"
    return "no match" if "pattern" in schema and not re.search(schema["pattern"], value) else ""


def _strays(schema: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
    """Where a value is not as the schema says."""
    stray = _stray(schema, value)
    if stray:
        yield f"{place} is {value!r}, {stray}"
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strays(schema["items"], item, f"{place}[{number}]")
    elif isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        yield from (f"{place} lacks {name}" for name in set(schema.get("required", ())) - value.keys())
        yield from (f"{place}.{name} is unknown" for name in value.keys() - known.keys())
        for name in value.keys() & known.keys():
            yield from _strays(known[name], value[name], f"{place}.{name}")


def check_status(status: SpecDecodeDeploymentStatus) -> None:
    """A status is what its schema allows, and every condition one line."""
    strays = list(_strays(_STATUS, status.to_wire(), "status"))
    assert not strays, strays
    for condition in status.conditions:
        assert not unsafe_in_a_line(condition.message), condition
        assert not unsafe_in_a_line(condition.reason), condition


def _looked_at(prepared: Prepared, body: Body) -> Outcome:
    seen = Seen(
        body, None, (), has_children=False, measurement=_NOTHING, measured_at=None, failure=None,
        fast_window_seconds=60.0,
    )  # fmt: skip
    return judging.judge(prepared, seen, NOW)


def _check_refusal(outcome: Outcome, refusal: Rejection) -> None:
    planned = outcome.status.condition(ConditionType.PLANNED)
    stalled = outcome.status.condition(ConditionType.STALLED)
    assert planned is not None
    assert stalled is not None
    assert (planned.status, planned.reason) == (ConditionStatus.FALSE, refusal.reason)
    assert (stalled.status, stalled.reason) == (ConditionStatus.TRUE, refusal.reason)
    assert refusal.problems
    assert refusal.problems[0].field
    assert str(refusal.problems[0]) in stalled.message
    assert outcome.apply is None


def _check_objects(prepared: Prepared) -> None:
    assert prepared.plan is not None
    assert prepared.objects
    for objects in prepared.objects.values():
        for body in objects.all():
            if body["kind"] == "Deployment":
                container = body["spec"]["template"]["spec"]["containers"][0]
                _check_arguments(read_arguments(prepared.plan.engine_version, container["args"]), prepared)
                _check_variables(container["env"])
                _check_labels(body["spec"]["template"]["metadata"])
            _check_labels(body["metadata"])


def _check_arguments(arguments: Mapping[str, Any], prepared: Prepared) -> None:
    """The server is where it should be, runs what was asked for, and loads nobody's code."""
    assert prepared.resource is not None
    assert (arguments["host"], arguments["port"]) == ("0.0.0.0", "8000")
    assert arguments["model"] == prepared.resource.spec.model.name
    assert not _LOADS_CODE & arguments.keys()
    assert arguments.get("middleware", MIDDLEWARE) == MIDDLEWARE


def _check_variables(variables: list[dict[str, Any]]) -> None:
    names = [variable["name"] for variable in variables]
    assert len(names) == len(set(names)), names
    values = {variable["name"]: variable.get("value") for variable in variables}
    assert values["HF_HOME"] == CACHE_MOUNT
    assert values.get("PYTHONPATH", METER_MOUNT) == METER_MOUNT
    assert not [name for name in names if name.startswith(("VLLM_", "LD_", "KUBERNETES_"))], names


def _check_labels(metadata: Mapping[str, Any]) -> None:
    for key in (*metadata.get("labels", {}), *metadata.get("annotations", {})):
        assert re.fullmatch(LABEL_KEY, key), key
    for value in metadata.get("labels", {}).values():
        assert _LABEL_VALUE.fullmatch(value), value


def _live(body: Body, wanted: int | None) -> None:
    """It is applied, serves, collapses and steps down."""
    walk = Walk()
    walk.body = {**walk.body, "spec": body["spec"]}
    replicas = 1 if wanted is None else wanted
    walk.look()
    if walk.wanted is None:
        return
    walk.applied(ready=replicas, replicas=replicas).look().later(hours=1).look()
    walk.look(measurement=collapsed(walk.mode)).later(hours=1).look()
    check_status(SpecDecodeDeploymentStatus.model_validate(walk.body["status"]))


def check(body: Body) -> str:
    """The laws; the answer is what became of the resource, in one word."""
    prepared = judging.prepare(body, OPTIONS)
    outcome = _looked_at(prepared, body)
    check_status(outcome.status)
    again = _looked_at(prepared, {**body, "status": outcome.status.to_wire()})
    assert again.status == outcome.status
    if prepared.refusal is not None:
        _check_refusal(outcome, prepared.refusal)
        return prepared.refusal.reason
    assert outcome.apply is not None
    _check_objects(prepared)
    assert prepared.resource is not None
    _live(body, prepared.resource.spec.replicas)
    return "planned"
