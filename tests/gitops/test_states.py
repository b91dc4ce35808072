"""What Argo CD and kstatus (Flux, Helm) say in every state. The states are those that the core writes: states.py."""

import pytest
from gitops import argocd
from gitops.kstatus import compute
from gitops.states import STATES, state

# state: Ready, Reconciling, Stalled; kstatus; Argo CD; what the message says
TABLE = {
    "new": ("---", "Current", "Progressing", "waiting for the operator"),
    "creating": ("FTF", "InProgress", "Progressing", "is being applied"),
    "starting": ("FTF", "InProgress", "Progressing", "is being rolled out"),
    "half-ready": ("FTF", "InProgress", "Progressing", "is being rolled out"),
    "serving": ("TFF", "Current", "Healthy", "2 of 2 replicas are ready, mode QuantizedDraft"),
    "no-speculation-requested": ("TFF", "Current", "Healthy", "no speculation"),
    "no-traffic": ("TFF", "Current", "Healthy", "2 of 2"),
    "metrics-missing": ("TFF", "Current", "Healthy", "not measured: Prometheus does not answer"),
    "scaled-to-zero": ("TFF", "Current", "Healthy", "no replicas are asked for"),
    "behind": ("TFF", "InProgress", "Progressing", "generation 2"),
    "deleted": ("TFF", "Terminating", "Progressing", "Pending deletion"),
    "rolling-back": ("FTF", "InProgress", "Progressing", "Off is being rolled out"),
    "rolled-back": ("TFF", "Current", "Degraded", "rolled back, serving: acceptance length 1.01"),
    "rolled-back-to-ngram": ("TFF", "Current", "Degraded", "rolled back, serving: acceptance length 1.01"),
    "retried": ("FTF", "InProgress", "Progressing", "is being applied"),
    "rearmed": ("FTF", "InProgress", "Progressing", "is being applied"),
    "recommended": ("TFF", "Current", "Healthy", "the guard recommends"),
    "circuit-breaker-open": ("TFF", "Current", "Healthy", "is held"),
    "paused": ("TFF", "Current", "Suspended", "paused is set"),
    "paused-before-the-first-start": ("FFF", "InProgress", "Suspended", "the Deployment does not exist yet"),
    "paused-and-down": ("FFF", "InProgress", "Degraded", "0 of 2 replicas are ready"),
    "paused-rolled-back": ("TFF", "Current", "Suspended", "paused is set"),
    "forced-off": ("TFF", "Current", "Healthy", "force-mode is set"),
    "forced-and-paused": ("TFF", "Current", "Suspended", "paused is set"),
    "does-not-fit": ("FFT", "Failed", "Degraded", "does not fit: short by"),
    "does-not-fit-old-serves": ("TFT", "Failed", "Degraded", "does not fit: short by"),
    "looking-up": ("FTF", "InProgress", "Progressing", "is being looked up"),
    "looking-up-old-serves": ("TTF", "InProgress", "Progressing", "is being looked up"),
    "apply-forbidden": ("FTF", "InProgress", "Progressing", "the server says no"),
    "apply-refused": ("FFT", "Failed", "Degraded", "the server says no"),
    "awaiting-deletion": ("FTF", "InProgress", "Progressing", "the server says no"),
    "ownership-conflict": ("FFT", "Failed", "Degraded", "the server says no"),
    "does-not-start": ("FFT", "Failed", "Degraded", "waits with ImagePullBackOff"),
}


def letters(body: dict[str, object]) -> str:
    """Ready, Reconciling and Stalled, by their first letters."""
    status = body.get("status")
    conditions = status["conditions"] if isinstance(status, dict) else []
    found = {condition["type"]: condition["status"][0] for condition in conditions}
    return "".join(found.get(kind, "-") for kind in ("Ready", "Reconciling", "Stalled"))


def test_every_state_is_in_the_table() -> None:
    assert set(TABLE) == set(STATES)


@pytest.mark.parametrize("name", STATES)
def test_what_each_tool_says(name: str) -> None:
    conditions, kstatus, health, words = TABLE[name]
    body = state(name)
    assert letters(body) == conditions
    assert compute(body) == kstatus
    answer, message = argocd.health(body)
    assert (answer, words in message) == (health, True), message


def test_a_team_may_call_a_rolled_back_deployment_healthy_and_keeps_the_message() -> None:
    text = argocd.script("health.lua")
    chosen = text.replace('when_rolled_back = "Degraded"', 'when_rolled_back = "Healthy"')
    assert chosen != text
    assert argocd.health(state("rolled-back"), chosen) == ("Healthy", argocd.health(state("rolled-back"))[1])


@pytest.mark.parametrize(
    ("changes", "health"),
    [
        pytest.param({"status": None}, "Progressing", id="no status"),
        pytest.param({"status": {}}, "Progressing", id="an empty status, as after a restore"),
        pytest.param({"status": {"observedGeneration": 1}}, "Progressing", id="no conditions yet"),
        pytest.param({"status": {"observedGeneration": 1, "conditions": []}}, "Progressing", id="an empty list"),
        pytest.param(
            {"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}},
            "Healthy",
            id="only Ready, without a reason",
        ),
        pytest.param(
            {"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "Unknown"}]}},
            "Progressing",
            id="Ready is unknown",
        ),
        pytest.param(
            {"status": {"observedGeneration": 1, "conditions": [{"type": "Stalled", "status": "True"}]}},
            "Degraded",
            id="only Stalled, without a reason",
        ),
        pytest.param(
            {"status": {"observedGeneration": 1, "conditions": [{"type": "Tomorrow", "status": "True"}, {}]}},
            "Progressing",
            id="a condition of a newer operator, and one without a type",
        ),
        pytest.param({"status": {"observedGeneration": 2}}, "Progressing", id="a status of a newer generation"),
    ],
)
def test_an_incomplete_status_is_never_an_error(changes: dict[str, object], health: str) -> None:
    assert argocd.health(state("serving") | changes)[0] == health
