"""What the judgement learns from real-looking bodies of Deployments and pods."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from builders import UID, resource, with_overrides
from builders import pod_fact as built_pod

from specdecode.api.vocabulary import Mode
from specdecode.decide.facts import Child, PodFact
from specdecode.observe.cluster import child_of, is_left_behind, pod_fact, pods_of

DEPLOYMENT = """
metadata:
  name: llama-70b
  namespace: serving
  uid: dep-1
  generation: 3
  annotations:
    deployment.kubernetes.io/revision: "3"
    specdecode.io/mode: NGram
    specdecode.io/spec-hash: aaaaaaaaaa
    specdecode.io/intent-hash: bbbbbbbbbb
    specdecode.io/rolled-back-for: aaaaaaaaaa
    specdecode.io/rolled-back-from: QuantizedDraft
    specdecode.io/reason: AcceptanceCollapsed
  ownerReferences:
  - {apiVersion: specdecode.io/v1alpha1, kind: SpecDecodeDeployment, name: llama-70b, controller: true,
     blockOwnerDeletion: false, uid: 4f5e2c1a-0000-4000-8000-000000000001}
spec: {replicas: 2}
status:
  observedGeneration: 3
  replicas: 2
  updatedReplicas: 2
  readyReplicas: 2
  availableReplicas: 2
  conditions:
  - {type: Available, status: "True", reason: MinimumReplicasAvailable}
  - {type: Progressing, status: "True", reason: NewReplicaSetAvailable}
"""

POD = """
metadata:
  name: llama-70b-7d4b9c6f5d-x2x4z
  namespace: serving
  creationTimestamp: "2026-11-22T10:00:00Z"
  labels: {pod-template-hash: 7d4b9c6f5d, specdecode.io/deployment: llama-70b, specdecode.io/mode: QuantizedDraft}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: llama-70b-7d4b9c6f5d, uid: rs-1, controller: true}]
spec: {nodeName: gpu-1}
status:
  phase: Running
  conditions:
  - {type: PodScheduled, status: "True"}
  - {type: Initialized, status: "True"}
  - {type: ContainersReady, status: "True"}
  - {type: Ready, status: "True", lastTransitionTime: "2026-11-22T10:04:00Z"}
  containerStatuses:
  - name: vllm
    ready: true
    restartCount: 0
    state: {running: {startedAt: "2026-11-22T10:01:00Z"}}
"""

SCHEDULED = {"type": "PodScheduled", "status": "True"}
NOT_READY = [SCHEDULED, {"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-22T10:02:00Z"}]
CRASH = {"exitCode": 1, "reason": "Error", "message": "ValueError: The model's max seq len is larger\n"}


def deployment(**overrides: Any) -> dict[str, Any]:
    return with_overrides(yaml.safe_load(DEPLOYMENT), overrides)


def pod(**overrides: Any) -> dict[str, Any]:
    return with_overrides(yaml.safe_load(POD), overrides)


def engine(**status: Any) -> dict[str, Any]:
    """Overrides of a pod whose engine does not serve."""
    container = {"name": "vllm", "ready": False, "restartCount": 0, **status}
    return {"status.conditions": NOT_READY, "status.containerStatuses": [container]}


def waiting(reason: str, message: str = "", **status: Any) -> dict[str, Any]:
    return engine(state={"waiting": {"reason": reason, "message": message}}, **status)


def test_a_rolled_out_deployment_reads_in_full() -> None:
    assert child_of(deployment(), UID) == Child(
        uid="dep-1",
        is_ours=True,
        generation=3,
        observed_generation=3,
        desired_replicas=2,
        replicas=2,
        updated_replicas=2,
        ready_replicas=2,
        available_replicas=2,
        mode=Mode.NGRAM,
        spec_hash="aaaaaaaaaa",
        intent_hash="bbbbbbbbbb",
        rolled_back_for="aaaaaaaaaa",
        rolled_back_from=Mode.QUANTIZED_DRAFT,
        reason="AcceptanceCollapsed",
        progress_deadline_exceeded=False,
    )
    assert child_of(deployment(), UID).is_rolled_out


OWNER = {"kind": "SpecDecodeDeployment", "name": "llama-70b", "uid": UID}
DEADLINE = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param({"metadata.ownerReferences": []}, {"is_ours": False}, id="nobody owns it: not ours"),
        pytest.param({"metadata.ownerReferences": None}, {"is_ours": False}, id="no owner field: not ours"),
        pytest.param(
            {"metadata.ownerReferences": [OWNER | {"controller": True, "uid": "older"}]},
            {"is_ours": False},
            id="a resource of the same name but an earlier uid owned it: not ours",
        ),
        pytest.param(
            {"metadata.ownerReferences": [OWNER]}, {"is_ours": False}, id="owned but not controlled by us: not ours"
        ),
        pytest.param(
            {"metadata.annotations": None},
            {"mode": None, "spec_hash": "", "intent_hash": "", "rolled_back_for": "", "rolled_back_from": None},
            id="without annotations: nothing is known of what was applied",
        ),
        pytest.param(
            {"metadata.annotations": {"specdecode.io/mode": "Turbo"}}, {"mode": None}, id="an unknown mode is no mode"
        ),
        pytest.param(
            {"status": None},
            {"observed_generation": 0, "replicas": 0, "ready_replicas": 0, "is_rolled_out": False},
            id="the controller has not seen it yet: nothing is rolled out",
        ),
        pytest.param(
            {"status.observedGeneration": 2}, {"is_rolled_out": False}, id="the controller is behind: not rolled out"
        ),
        pytest.param({"status.replicas": 3}, {"is_rolled_out": False}, id="an old pod is left: not rolled out"),
        pytest.param(
            {"status.readyReplicas": 1}, {"is_rolled_out": False}, id="one of two pods is ready: not rolled out"
        ),
        pytest.param(
            {"status.conditions": DEADLINE}, {"progress_deadline_exceeded": True}, id="the rollout gave up and says so"
        ),
    ],
)
def test_a_deployment(overrides: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    child = child_of(deployment(**overrides), UID)
    assert {name: getattr(child, name) for name in expected} == expected


def test_an_empty_uid_owns_nothing() -> None:
    orphan = deployment(**{"metadata.ownerReferences": [OWNER | {"controller": True, "uid": ""}]})
    assert not child_of(orphan, "").is_ours


def test_a_serving_pod_reads_in_full() -> None:
    assert pod_fact(pod()) == PodFact(
        name="llama-70b-7d4b9c6f5d-x2x4z",
        mode=Mode.QUANTIZED_DRAFT,
        is_ready=True,
        is_terminating=False,
        is_pending=False,
        restarts=0,
        created_at=datetime(2026, 11, 22, 10, 0, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param(
            waiting(
                "CrashLoopBackOff",
                "back-off 40s restarting failed container=vllm",
                restartCount=4,
                lastState={"terminated": CRASH},
            ),
            {
                "is_ready": False,
                "restarts": 4,
                "waiting_reason": "CrashLoopBackOff",
                "message": "Error, exit code 1: ValueError: The model's max seq len is larger",
            },
            id="it crashes in a loop: the engine's last words, not the back-off's",
        ),
        pytest.param(
            waiting("CrashLoopBackOff", "back-off 10s", restartCount=1),
            {"waiting_reason": "CrashLoopBackOff", "message": "back-off 10s"},
            id="it crashes and nobody kept the last words: the kubelet's",
        ),
        pytest.param(
            engine(state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, restartCount=2),
            {"restarts": 2, "waiting_reason": "", "message": "OOMKilled, exit code 137"},
            id="it was just killed for its memory",
        ),
        pytest.param(
            engine(state={"running": {}}, restartCount=3, lastState={"terminated": CRASH}),
            {
                "restarts": 3,
                "waiting_reason": "",
                "message": "Error, exit code 1: ValueError: The model's max seq len is larger",
            },
            id="it starts again after a crash: the last words are kept",
        ),
        pytest.param(
            waiting("ImagePullBackOff", 'Back-off pulling image "vllm/vllm-openai:v9.9.9": not found'),
            {
                "waiting_reason": "ImagePullBackOff",
                "message": 'Back-off pulling image "vllm/vllm-openai:v9.9.9": not found',
            },
            id="the image cannot be pulled",
        ),
        pytest.param(
            waiting("CreateContainerConfigError", 'secret "hf" not found', lastState={"terminated": CRASH}),
            {"waiting_reason": "CreateContainerConfigError", "message": 'secret "hf" not found'},
            id="the Secret is missing: that, and not an earlier crash",
        ),
        pytest.param(
            waiting("ContainerCreating"),
            {"waiting_reason": "", "message": "", "not_ready_since": datetime(2026, 11, 22, 10, 2, tzinfo=UTC)},
            id="it is being created, and not ready since then",
        ),
        pytest.param(
            {"status.conditions": [SCHEDULED]}, {"is_ready": False, "not_ready_since": None}, id="no kubelet spoke yet"
        ),
        pytest.param(
            {
                "spec": {},
                "status": {
                    "phase": "Pending",
                    "conditions": [
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
                        }
                    ],
                },
            },
            {
                "is_pending": True,
                "is_ready": False,
                "waiting_reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            },
            id="no GPU is free: the scheduler's words",
        ),
        pytest.param(
            {"spec": {}, "status": None},
            {"is_pending": True, "is_ready": False, "restarts": 0, "waiting_reason": "", "message": ""},
            id="nobody has looked at it yet: pending, and nothing is wrong",
        ),
        pytest.param(
            {"metadata.deletionTimestamp": "2026-11-22T10:05:00Z"}, {"is_terminating": True}, id="it is leaving"
        ),
        pytest.param(
            {
                "status": {
                    "phase": "Failed",
                    "reason": "Evicted",
                    "message": "The node was low on resource: memory.",
                    "conditions": NOT_READY,
                }
            },
            {"waiting_reason": "Evicted", "message": "The node was low on resource: memory."},
            id="it was evicted: no container is left to ask",
        ),
        pytest.param(
            {"status.containerStatuses": [{"name": "istio-proxy", "restartCount": 9, "state": {"running": {}}}]},
            {"restarts": 0},
            id="an injected container crashes: not the engine's restarts",
        ),
        pytest.param({"metadata.labels": None}, {"mode": None}, id="without our label: no mode"),
    ],
)
def test_a_pod(overrides: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    fact = pod_fact(pod(**overrides))
    assert {name: getattr(fact, name) for name in expected} == expected


def reference(**overrides: Any) -> dict[str, Any]:
    (ours,) = yaml.safe_load(DEPLOYMENT)["metadata"]["ownerReferences"]
    return {**ours, **overrides}


BEFORE = {"uid": "of the one before"}


@pytest.mark.parametrize(
    ("references", "is_left"),
    [
        pytest.param([reference(**BEFORE)], True, id="of a resource of this name that is no more"),
        pytest.param([reference(**BEFORE, apiVersion="specdecode.io/v1")], True, id="made under another version"),
        pytest.param([reference()], False, id="of this very resource"),
        pytest.param([], False, id="nobody's, as after an orphaning deletion"),
        pytest.param([reference(**BEFORE, name="other")], False, id="of a resource of another name, which may live"),
        pytest.param([reference(**BEFORE, kind="Deployment")], False, id="of another kind"),
        pytest.param([reference(**BEFORE, apiVersion="other.io/v1")], False, id="of another group"),
        pytest.param([reference(**BEFORE, controller=False)], False, id="not its controller"),
    ],
)
def test_what_a_deleted_resource_left_behind(references: list[dict[str, Any]], is_left: bool) -> None:  # noqa: FBT001
    assert is_left_behind({"ownerReferences": references}, resource().metadata) is is_left


MADE_AT = {"metadata": {"creationTimestamp": "2026-11-22T10:00:00Z"}}


@pytest.mark.parametrize(
    ("deployment", "second", "is_its"),
    [
        pytest.param(MADE_AT, 0, True, id="made with the Deployment"),
        pytest.param(MADE_AT, 9, True, id="made later"),
        pytest.param(MADE_AT, -1, False, id="older: of another Deployment of that name"),
        pytest.param({"metadata": {}}, -1, True, id="nobody knows when it was made"),
        pytest.param(None, -1, True, id="there is no Deployment"),
    ],
)
def test_pods_of_a_deployment(deployment: dict[str, Any] | None, second: int, is_its: bool) -> None:  # noqa: FBT001
    pod = built_pod(created_at=datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC) + timedelta(seconds=second))
    assert pods_of(deployment, [pod]) == ((pod,) if is_its else ())
