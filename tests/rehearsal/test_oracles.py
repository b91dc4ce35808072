"""The judges of a run, on small states and logs."""

from typing import Any

import pytest

from rehearsal.oracles import Reference, count_differences, counts_of, differences, renamed, unseen_refusals

USER = "system:serviceaccount:a:operator"


def state(**spec: Any) -> dict[str, Any]:
    return {
        "Deployment chat": {"metadata": {"uid": spec.pop("uid", "u"), "generation": 1}, "spec": {"replicas": 2} | spec}
    }


RUNS = [state(uid=uid) for uid in ("a", "b", "c")]


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        pytest.param(state(uid="d"), [], id="what differs between reference runs differs here, too"),
        pytest.param(
            state(replicas=3), ["Deployment chat.spec.replicas: expected 2, found 3"], id="another value is told"
        ),
        pytest.param(
            state(paused=True),
            ["Deployment chat.spec.paused: expected None, found True"],
            id="a field too many is told",
        ),
        pytest.param({}, ["Deployment chat: expected"], id="an object that is not there is told"),
        pytest.param(state() | {"Service s": {}}, ["Service s: expected None, found {}"], id="an orphan is told"),
    ],
)
def test_an_end_state_is_held_against_reference_runs(found: dict[str, Any], lines: list[str]) -> None:
    told = Reference.of(RUNS).differs(found)
    assert len(told) == len(lines)
    assert all(line.startswith(start) for line, start in zip(told, lines, strict=True))


def test_a_field_that_only_some_reference_runs_have_is_masked() -> None:
    runs = [state(), state(), state(nodeName="n")]
    assert Reference.of(runs).differs(state(nodeName="m")) == []


def test_a_list_that_is_longer_in_one_reference_run_is_masked_as_a_whole() -> None:
    runs = [state(args=["a"]), state(args=["a"]), state(args=["a", "b"])]
    assert Reference.of(runs).differs(state(args=["c"])) == []
    assert Reference.of([state(args=["a"])] * 3).differs(state(args=["c"])) != []


def test_two_runs_are_no_reference() -> None:
    with pytest.raises(ValueError, match="at least three"):
        Reference.of(RUNS[:2])


def test_a_state_can_be_compared_with_one_of_another_name() -> None:
    direct, reverted = {"Deployment one": {"name": "one"}}, {"Deployment other": {"name": "other"}}
    assert differences(direct, renamed(reverted, "other", "one")) == []


def entry(verb: str, name: str = "chat", code: int = 200, **changes: str) -> dict[str, Any]:
    reference = {"namespace": "a", "resource": "deployments", "name": name}
    reference |= {key: value for key, value in changes.items() if key != "user"}
    user = {"username": changes.get("user", USER)}
    return {"verb": verb, "user": user, "objectRef": reference, "responseStatus": {"code": code}}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param(entry("patch"), {("patch", "deployments chat"): 1}, id="a patch"),
        pytest.param(entry("patch", code=201), {("create", "deployments chat"): 1}, id="an apply that creates"),
        pytest.param(entry("delete"), {("delete", "deployments chat"): 1}, id="a deletion"),
        pytest.param(
            entry("patch", subresource="status"), {("patch", "deployments/status chat"): 1}, id="of a subresource"
        ),
        pytest.param(entry("patch", code=409), {}, id="one that was refused"),
        pytest.param(entry("get"), {}, id="a read"),
        pytest.param(entry("patch", user="somebody"), {}, id="somebody else's"),
        pytest.param(entry("patch", namespace="b"), {}, id="elsewhere"),
        pytest.param(entry("patch", name="other"), {}, id="of another object"),
    ],
)
def test_writes_are_counted_by_object(written: dict[str, Any], expected: dict[tuple[str, str], int]) -> None:
    assert counts_of([written], user=USER, namespace="a", name="chat") == expected


def test_one_write_more_or_less_is_told_of_the_verbs_that_are_asked_for() -> None:
    once, twice = ({("create", "pods a"): times, ("patch", "pods a"): times} for times in (1, 2))
    assert count_differences(once, twice, verbs=("create",)) == ["create pods a: expected 1, found 2"]
    assert count_differences(twice, {}, verbs=("patch",)) == ["patch pods a: expected 2, found 0"]
    assert count_differences(once, once, verbs=("create", "patch")) == []


def resource(*conditions: tuple[str, str, int, str]) -> dict[str, Any]:
    told = [
        {"type": kind, "status": answer, "observedGeneration": generation, "message": message}
        for kind, answer, generation, message in conditions
    ]
    return {"metadata": {"generation": 2}, "status": {"conditions": told}}


@pytest.mark.parametrize(
    ("body", "is_seen"),
    [
        pytest.param(resource(("Planned", "False", 2, "no flag spam")), True, id="said and named"),
        pytest.param(resource(("Stalled", "True", 2, "no flag spam")), True, id="stalled says it, too"),
        pytest.param(resource(("Planned", "True", 2, "no flag spam")), False, id="it claims that all is well"),
        pytest.param(resource(("Planned", "False", 1, "no flag spam")), False, id="said of the spec before"),
        pytest.param(resource(("Planned", "False", 2, "something")), False, id="nobody learns what"),
        pytest.param({"metadata": {"generation": 2}}, False, id="silence"),
    ],
)
def test_a_refusal_must_be_seen(body: dict[str, Any], *, is_seen: bool) -> None:
    assert (unseen_refusals(body, words="spam") == []) is is_seen
