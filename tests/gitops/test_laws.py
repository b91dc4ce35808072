"""What must hold in any state that the core can write, not only in those that somebody thought of."""

from dataclasses import replace
from typing import Any

from builders import measurement, pod_fact
from gitops import argocd
from gitops.kstatus import Kstatus, compute
from gitops.states import AWAITED, COUNTS, TOO_LARGE, Walk, collapsed
from hypothesis import example, given, settings
from hypothesis import strategies as st

from specdecode.decide.facts import Availability, Measurement
from specdecode.status import AWAITING_DELETION, OWNERSHIP_CONFLICT, ApplyFailure

UNMEASURED = [Measurement(word, "why") for word in Availability if word is not Availability.MEASURED]
REFUSALS = [("ApplyForbidden", False), ("ApplyRefused", True), (OWNERSHIP_CONFLICT, True), (AWAITING_DELETION, False)]
ANNOTATIONS = [{}, {"paused": "true"}, {"force_mode": "Off"}, {"retry": "1"}, {"paused": "true", "force_mode": "Draft"}]
SPECS = [{}, TOO_LARGE, {"spec.speculation.numSpeculativeTokens": 3}, {"spec.engine.maxModelLen": "long"}]
PODS = [
    (),
    (pod_fact(is_ready=False, waiting_reason="ImagePullBackOff"),),
    (pod_fact(is_ready=False, waiting_reason="CrashLoopBackOff", restarts=5),),
]


BEGINNINGS = [
    *(lambda: Walk().serving(), lambda: Walk().rolled_back(), lambda: Walk().look().applied().look()),
    *(lambda: Walk(**TOO_LARGE), lambda: Walk(**{"spec.replicas": 0}), Walk),
]


@st.composite
def walks(draw: st.DrawFn) -> Walk:
    """A few looks in a row; between them anything may happen to the cluster, to the spec and to the measurements."""
    walk = draw(st.sampled_from(BEGINNINGS))()
    for _ in range(draw(st.integers(1, 4))):
        draw(st.sampled_from([_applied, _drifted, _changed, _annotated, _refused, _nothing]))(draw, walk)
        walk.later(seconds=draw(st.sampled_from([3, 60, 3600])))
        seen: Any = draw(st.sampled_from([measurement(), collapsed(), *UNMEASURED]))
        if walk.deployment is not None:
            seen = replace(seen, mode=walk.measurement.mode)
        awaited = draw(st.sampled_from([(), (), (), AWAITED]))
        walk.look(measurement=seen, pods=draw(st.sampled_from(PODS)), awaited=awaited)
    return walk


def _nothing(_draw: st.DrawFn, _walk: Walk) -> None:
    """Time passes."""


def _applied(draw: st.DrawFn, walk: Walk) -> None:
    if walk.wanted is not None:
        walk.failure = None
        walk.applied(ready=draw(st.sampled_from([2, 2, 1, 0])))


def _drifted(draw: st.DrawFn, walk: Walk) -> None:
    """The Deployment is behind, or gone."""
    if walk.deployment is not None and draw(st.sampled_from([True, True, False])):
        counts = {count: draw(st.integers(0, 2)) for count in COUNTS}
        walk.deployment = walk.deployment | {"status": {"observedGeneration": draw(st.integers(0, 1))} | counts}
    else:
        walk.deployment = None


def _changed(draw: st.DrawFn, walk: Walk) -> None:
    if "status" in walk.body:
        walk.changed(**draw(st.sampled_from(SPECS)))


def _annotated(draw: st.DrawFn, walk: Walk) -> None:
    walk.body["metadata"]["annotations"] = {}
    walk.annotated(**draw(st.sampled_from(ANNOTATIONS)))


def _refused(draw: st.DrawFn, walk: Walk) -> None:
    """The API server refused what was wanted, or something before it."""
    if walk.wanted is not None:
        reason, is_final = draw(st.sampled_from(REFUSALS))
        intent_hash = draw(st.sampled_from([walk.wanted.intent_hash, "another"]))
        walk.failure = ApplyFailure(reason, "the server says no", is_final, intent_hash)


def said(walk: Walk, kind: str) -> str:
    """Status and reason of a condition, as `True/Serving`."""
    found = {c["type"]: f"{c['status']}/{c['reason']}" for c in walk.body["status"]["conditions"]}
    return found[kind]


def refused_and_then_put_there_by_hand() -> Walk:
    walk = Walk().look().failed("ApplyRefused", is_final=True)
    return walk.applied().look()


@given(walks())
@settings(max_examples=80, deadline=None)
def test_it_is_never_current_while_the_operator_is_behind(walk: Walk) -> None:
    assert walk.body["status"]["observedGeneration"] == walk.body["metadata"]["generation"]
    walk.body["metadata"] |= {"generation": walk.body["metadata"]["generation"] + 1}
    assert compute(walk.body) is Kstatus.IN_PROGRESS
    assert argocd.health(walk.body)[0] == "Progressing"


@given(walks())
@example(refused_and_then_put_there_by_hand())
@settings(max_examples=80, deadline=None)
def test_it_is_never_failed_while_it_serves_under_an_accepted_spec(walk: Walk) -> None:
    if said(walk, "Ready") == "True/Serving" and said(walk, "Planned") == "True/Fits":
        assert compute(walk.body) is Kstatus.CURRENT


@given(walks())
@settings(max_examples=80, deadline=None)
def test_the_two_never_contradict_each_other(walk: Walk) -> None:
    kstatus, (health, message) = compute(walk.body), argocd.health(walk.body)
    assert message
    allowed = {
        Kstatus.FAILED: {"Degraded"},
        Kstatus.CURRENT: {"Healthy", "Suspended", "Degraded"},
        # Paused before it was rolled out, or with nothing that answers: kstatus has no word for it but InProgress.
        Kstatus.IN_PROGRESS: {"Progressing", "Suspended", "Degraded"},
    }
    assert health in allowed[kstatus]
    if kstatus is Kstatus.CURRENT and health == "Degraded":
        assert message.startswith("rolled back, serving: ")
    if kstatus is Kstatus.IN_PROGRESS and health != "Progressing":
        assert said(walk, "Paused") == "True/Annotation"


@given(walks(), st.data())
@settings(max_examples=50, deadline=None)
def test_a_status_with_parts_missing_is_never_an_error(walk: Walk, data: st.DataObject) -> None:
    status = walk.body["status"]
    kept = data.draw(st.lists(st.sampled_from(status["conditions"]), unique_by=lambda condition: condition["type"]))
    fields = data.draw(st.sets(st.sampled_from(sorted(status))))
    partial = {key: value for key, value in status.items() if key in fields} | {"conditions": kept}
    body = walk.body | {"status": partial}
    assert argocd.health(body)[0] in argocd.HEALTHS
    assert set(argocd.enabled(body)) <= set(argocd.ACTIONS)
