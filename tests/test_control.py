"""The control arm as it stands: what is missing of it, what stops it, and when it goes."""

from typing import Any

import pytest
from builders import ABSENT, plan, resource, with_overrides

from specdecode.api.vocabulary import Mode
from specdecode.control import ControlArm
from specdecode.manifests.build import Objects, build

CONTROL = {"spec.guard": {"baseline": {"controlReplicas": 1}}}
BUILT = build(resource(**CONTROL), plan())
BESIDE, ALONE = BUILT[Mode.DRAFT], BUILT[Mode.OFF]
AUTOSCALED = build(resource(**CONTROL, **{"spec.replicas": ABSENT}), plan())[Mode.DRAFT]


def live(**overrides: Any) -> dict[str, Any]:
    """The control arm's Deployment as the API server has it, with its pod ready."""
    assert BESIDE.control is not None
    metadata = BESIDE.control["metadata"] | {"uid": "c", "generation": 1, "resourceVersion": "3"}
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    body = BESIDE.control | {"metadata": metadata, "status": {"observedGeneration": 1} | counts}
    return with_overrides(body, overrides)


def arm(deployment: dict[str, Any] | None = None, refusal: str = "") -> ControlArm:
    return ControlArm(resource().metadata, deployment, refusal)


def foreign() -> dict[str, Any]:
    return live(**{"metadata.ownerReferences": []})


def left_behind() -> dict[str, Any]:
    """As of a resource of the same name that was deleted."""
    (reference,) = live()["metadata"]["ownerReferences"]
    return live(**{"metadata.ownerReferences": [reference | {"uid": "of the one before"}]})


def stuck(**status: Any) -> dict[str, Any]:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    return live(status={"observedGeneration": 1, "conditions": [late]} | status)


@pytest.mark.parametrize(
    ("an_arm", "main", "objects", "runs"),
    [
        pytest.param(arm(), None, BESIDE, True, id="nothing is in the way"),
        pytest.param(arm(live()), None, BESIDE, True, id="it is there"),
        pytest.param(arm(foreign()), None, BESIDE, False, id="somebody else's Deployment has its name"),
        pytest.param(arm(left_behind()), None, BESIDE, False, id="that of a deleted resource is still there"),
        pytest.param(arm(refusal="quota"), None, BESIDE, False, id="the API server refused it"),
        pytest.param(arm(), {"spec": {"replicas": 0}}, AUTOSCALED, False, id="an autoscaler wants nothing to run"),
        pytest.param(arm(), {"spec": {"replicas": 3}}, AUTOSCALED, True, id="an autoscaler wants three"),
        pytest.param(arm(), None, AUTOSCALED, True, id="nothing runs yet"),
        pytest.param(arm(), {"spec": {"replicas": 0}}, BESIDE, True, id="a person's edit, about to be taken back"),
    ],
)
def test_whether_it_can_run(
    an_arm: ControlArm,
    main: dict[str, Any] | None,
    objects: Objects,
    runs: bool,  # noqa: FBT001 - a column of the table
) -> None:
    wanted = an_arm.beside(objects, main)
    assert (wanted.control is not None) is runs
    if not runs and objects is BESIDE:
        assert wanted.deployment["spec"]["replicas"] == 2, "the main arm has all replicas"


@pytest.mark.parametrize(
    ("an_arm", "objects", "words"),
    [
        pytest.param(arm(), BESIDE, "", id="on its way: silence"),
        pytest.param(arm(live()), BESIDE, "", id="it serves: silence"),
        pytest.param(
            arm(foreign()), BESIDE, "serving/llama-70b-control exists and belongs to somebody else", id="name"
        ),
        pytest.param(arm(left_behind()), BESIDE, "", id="that of a deleted resource is about to go: silence"),
        pytest.param(arm(foreign()), ALONE, "", id="a stranger's, and none is wanted: silence"),
        pytest.param(arm(refusal="exceeded quota"), BESIDE, "exceeded quota", id="refused"),
        pytest.param(
            arm(stuck()), BESIDE, "it does not start; look at the pods with the label", id="it does not start"
        ),
        pytest.param(
            arm(stuck(replicas=1, updatedReplicas=1, readyReplicas=1)), BESIDE, "", id="late, but it serves: silence"
        ),
    ],
)
def test_what_is_said_of_one_that_does_not_run(an_arm: ControlArm, objects: Objects, words: str) -> None:
    problem = an_arm.problem(objects)
    assert words in problem
    assert bool(problem) is bool(words)


@pytest.mark.parametrize(
    ("an_arm", "objects", "is_due"),
    [
        pytest.param(arm(), BESIDE, True, id="missing"),
        pytest.param(arm(live()), BESIDE, False, id="as wanted"),
        pytest.param(arm(live(spec={"replicas": 4})), BESIDE, True, id="changed by somebody"),
        pytest.param(arm(), ALONE, False, id="not wanted"),
    ],
)
def test_when_it_is_applied(an_arm: ControlArm, objects: Objects, is_due: bool) -> None:  # noqa: FBT001 - a column
    assert an_arm.needs_apply(objects) is is_due


@pytest.mark.parametrize(
    ("deployment", "objects", "goes"),
    [
        pytest.param(live(), ALONE, True, id="not wanted any more"),
        pytest.param(live(), BESIDE, False, id="wanted"),
        pytest.param(None, ALONE, False, id="gone already"),
        pytest.param(left_behind(), ALONE, False, id="the garbage collector takes what was left behind"),
        pytest.param(foreign(), ALONE, False, id="somebody else's is never touched"),
        pytest.param(live(**{"metadata.deletionTimestamp": "2026-11-22T12:00:00Z"}), ALONE, False, id="on its way out"),
    ],
)
def test_when_it_is_removed(deployment: dict[str, Any] | None, objects: Objects, goes: bool) -> None:  # noqa: FBT001 - a column
    assert arm(deployment).surplus(objects) == (deployment if goes else None)


def test_a_strangers_deployment_is_no_control_arm() -> None:
    assert arm(foreign()).child is None
    child = arm(live()).child
    assert child is not None
    assert (child.mode, child.ready_replicas) == (Mode.OFF, 1)
