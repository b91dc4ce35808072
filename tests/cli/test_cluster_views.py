"""What is told of a deployment: the words, the order of the questions, and bodies that say little."""

from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, body
from cli.stored import CASES, Life, grown

from specdecode.api.vocabulary import Mode
from specdecode.cli.cluster import intents
from specdecode.cli.cluster.intents import Intent, Refusal
from specdecode.cli.cluster.past import past_of
from specdecode.cli.cluster.standing import standing_of
from specdecode.cli.cluster.subject import Caller, Subject
from specdecode.cli.cluster.view import between, memory_of, view_of
from specdecode.cli.cluster.words import ago, ahead, length


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (45, "45s"), (150, "2m30s"), (3600, "1h"), (3659, "1h"), (266_400, "3d2h"), (-5, "0s")],
)
def test_a_duration_has_two_units_at_most(seconds: float, words: str) -> None:
    assert length(seconds) == words


def test_clocks_differ() -> None:
    assert ago(NOW + timedelta(seconds=3), NOW) == "just now"
    assert ahead(NOW - timedelta(seconds=3), NOW).startswith("now")
    assert ahead(NOW + timedelta(minutes=4), NOW) == "in 4m (2026-11-22T12:04:00Z)"


def subject(life: Life) -> Subject:
    return Subject(life.body, life.now)


WORDS = {
    "healthy": "AsRequested",
    "settling": "Settling",
    "rolled-back-helped": "RolledBack",
    "rolled-back-not-helped": "RolledBack",
    "rolled-back-to-ngram": "RolledBack",
    "not-the-cause": "AsRequested",
    "rolling-back": "RolledBack",
    "just-rolled-back": "RolledBack",
    "retries-used-up": "RolledBack",
    "does-not-fit": "DoesNotFit",
    "no-data": "Unreachable",
    "idle": "NoTraffic",
    "paused": "Paused",
    "forced": "Forced",
    "forced-after-a-step": "Forced",
    "recommend": "Recommended",
    "starting": "Starting",
    "breaker-open": "CircuitBreakerOpen",
    "retry-pending": "RetryPending",
    "stalled": "EngineNotStarting",
    "not-seen": "NotSeen",
    "outdated": "Outdated",
    "not-requested": "NotRequested",
    "qualifying": "Qualifying",
}


@pytest.mark.parametrize("case", CASES)
def test_each_way_of_standing_has_one_word(case: str) -> None:
    assert standing_of(subject(CASES[case]())).word == WORDS[case]


def test_every_way_is_shown() -> None:
    assert set(WORDS) == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_whoever_has_to_act_is_told_how(case: str) -> None:
    standing = standing_of(subject(CASES[case]()))
    assert standing.headline
    assert standing.coming or standing.todo
    if standing.mood == "bad":
        assert any(todo.command for todo in standing.todo)


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(body(), id="no status"),
        pytest.param(body(**{"spec.model": "a word"}), id="a spec of another version"),
        pytest.param(body(status={"mode": "Sideways"}), id="a status that cannot be read"),
        pytest.param(body(**{"metadata.creationTimestamp": "yesterday"}), id="a moment that cannot be read"),
        pytest.param(body(status={"observedGeneration": 1}), id="a status that says nothing"),
        pytest.param({"metadata": {"name": "bare"}}, id="nothing at all"),
    ],
)
def test_little_is_enough(stored: dict[str, Any]) -> None:
    view = view_of(Subject(stored, NOW))
    assert view.name
    assert view.standing.headline


def replaced(life: Life, kind: str, **changes: str) -> Subject:
    conditions = [each | changes if each["type"] == kind else each for each in life.status["conditions"]]
    life.status |= {"conditions": conditions}
    return subject(life)


def test_a_model_that_is_looked_up_waits_for_nobody() -> None:
    standing = standing_of(replaced(grown(), "Planned", status="Unknown", reason="LookingUp", message="acme/x"))
    assert (standing.word, standing.todo) == ("LookingUp", ())


def test_what_the_cluster_refuses_for_good_waits_for_a_person() -> None:
    standing = standing_of(replaced(grown(), "Stalled", status="True", reason="ApplyRefused", message="quota"))
    assert standing.coming[0].text == "nothing, until a person acts"


def test_commands_can_be_copied_as_they_stand() -> None:
    life = CASES["rolled-back-helped"]()
    caller = Caller("specdecode", " --context prod")
    told = standing_of(Subject(life.body, life.now, caller))
    assert "specdecode retry chat -n serving --context prod" in [todo.command for todo in told.todo]


def test_what_was_measured_is_held_against_the_plan() -> None:
    memory = memory_of(subject(CASES["healthy"]()))
    assert memory is not None
    assert (memory.planned, memory.measured, memory.error_percent) == ("31.5Gi", "30.8Gi", "2.3")


def test_no_bounds_are_no_words() -> None:
    assert between(None) == ""


def test_a_step_that_was_taken_back_did_not_help() -> None:
    newest, step = past_of(subject(CASES["not-the-cause"]()))
    assert (newest.action, newest.helped) == ("SteppedBackUp", "")
    assert (step.action, step.helped) == ("RolledBack", "no")


@pytest.mark.parametrize(
    ("case", "intend", "annotations", "words"),
    [
        pytest.param("rolled-back-helped", intents.retry, {"specdecode.io/retry": None}, "2 pods restart", id="retry"),
        pytest.param("healthy", intents.retry, None, "is not rolled back: QuantizedDraft runs", id="nothing to retry"),
        pytest.param("not-seen", intents.retry, None, "nothing runs", id="nothing to retry, nothing runs"),
        pytest.param(
            "forced-after-a-step", intents.retry, {"specdecode.io/retry": None}, "--clear", id="retry, forced"
        ),
        pytest.param("healthy", intents.pause, {"specdecode.io/paused": "true"}, "QuantizedDraft stays", id="pause"),
        pytest.param("paused", intents.pause, {}, "it is paused already", id="pause twice"),
        pytest.param("paused", intents.resume, {"specdecode.io/paused": None}, "judges again", id="resume"),
        pytest.param("healthy", intents.resume, {}, "it is not paused", id="resume what runs"),
        pytest.param("forced", intents.clear, {"specdecode.io/force-mode": None}, "QuantizedDraft runs", id="clear"),
        pytest.param(
            "forced-after-a-step",
            intents.clear,
            {"specdecode.io/force-mode": None},
            "Off runs",
            id="clear, rolled back",
        ),
        pytest.param("healthy", intents.clear, {}, "no mode is forced", id="clear nothing"),
    ],
)
def test_what_an_annotation_leads_to_is_said_first(
    case: str, intend: Any, annotations: dict[str, str | None] | None, words: str
) -> None:
    intent = intend(subject(CASES[case]()))
    if annotations is None:
        assert isinstance(intent, Refusal)
        assert words in intent.message
        return
    assert isinstance(intent, Intent)
    assert words in " ".join(intent.sentences)
    assert set(intent.annotations) == set(annotations)
    for name, value in annotations.items():
        assert name.endswith("retry") or intent.annotations[name] == value


@pytest.mark.parametrize(
    ("case", "mode", "words"),
    [
        pytest.param("healthy", "Sideways", "not on the ladder of chat: the modes that fit are", id="no mode"),
        pytest.param("does-not-fit", "Draft", "short by 5.4Gi per GPU; the modes that fit are Off", id="does not fit"),
        pytest.param("not-seen", "Off", "has no plan yet", id="nothing is planned"),
    ],
)
def test_a_mode_that_cannot_run_is_not_forced(case: str, mode: str, words: str) -> None:
    refusal = intents.force(subject(CASES[case]()), mode)
    assert isinstance(refusal, Refusal)
    assert words in refusal.message


@pytest.mark.parametrize(
    ("case", "mode", "annotations", "words"),
    [
        pytest.param("healthy", "ngram", {"specdecode.io/force-mode": "NGram"}, "2 pods restart", id="another mode"),
        pytest.param("forced", "Off", {}, "is forced already", id="the same again"),
        pytest.param(
            "healthy", "QuantizedDraft", {"specdecode.io/force-mode": "QuantizedDraft"}, "no pod restarts", id="as now"
        ),
        pytest.param(
            "paused", "Off", {"specdecode.io/force-mode": "Off"}, "takes effect only after", id="while paused"
        ),
    ],
)
def test_a_mode_that_fits_is_forced(case: str, mode: str, annotations: dict[str, str], words: str) -> None:
    intent = intents.force(subject(CASES[case]()), mode)
    assert isinstance(intent, Intent)
    assert intent.annotations == annotations
    assert words in " ".join(intent.sentences)


@pytest.mark.parametrize(
    ("replicas", "words"), [(0, "none restarts"), (1, "there is no service until it is ready again")]
)
def test_what_a_restart_costs(replicas: int, words: str) -> None:
    life = grown()
    life.status |= {"replicas": replicas}
    intent = intents.force(subject(life), Mode.OFF)
    assert isinstance(intent, Intent)
    assert words in intent.sentences[0]


def test_a_paused_retry_waits() -> None:
    life = CASES["rolled-back-helped"]()
    life.annotations = {"specdecode.io/paused": "true"}
    intent = intents.retry(subject(life))
    assert isinstance(intent, Intent)
    assert "only after: kubectl specdecode resume chat" in intent.sentences[-1]
