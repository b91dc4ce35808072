"""The pure parts of the rehearsal's node: what starts, what probes mean, what a pod's status says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rehearsal.kubelet.addresses import AddressError, Addresses
from rehearsal.kubelet.containers import back_off_seconds, is_restarted
from rehearsal.kubelet.launch import CannotStart, Launch, launch, pod_fields, pre_stop_seconds, secret_names
from rehearsal.kubelet.pod_status import (
    LAST_WORDS_BYTES,
    Running,
    Snapshot,
    State,
    Terminated,
    Waiting,
    last_words,
    pod_status,
    termination,
)
from rehearsal.kubelet.probes import Probe, Tally, UnsupportedProbeError, read_probe

_THEN = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
_NOW = _THEN + timedelta(minutes=5)
_TOKEN = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}


def _container(**fields: Any) -> dict[str, Any]:
    return {"name": "vllm", "image": "vllm/vllm-openai:v0.32.0", "command": ["python3"], "args": ["--port=1"]} | fields


def _launch(container: dict[str, Any], secrets: Any = None) -> Launch | CannotStart:
    return launch(
        container,
        programs={"vllm/": ["other"], "vllm/vllm-openai": ["engine", "serve"]},
        secrets=secrets or {},
        root=Path("/pod"),
        rehearsal={"REHEARSAL_POD_IP": "127.1.2.3"},
    )


def test_the_program_replaces_the_command_and_keeps_the_arguments() -> None:
    environment = [{"name": "HF_HOME", "value": "/models"}, {"name": "EMPTY"}, _TOKEN]

    started = _launch(_container(env=environment, workingDir="/vllm"), {"hf": {"token": "hf_secret"}})

    assert started == Launch(
        command=("engine", "serve", "--port=1"),
        environment={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/pod",
            "TMPDIR": "/pod",
            "HF_HOME": "/models",
            "EMPTY": "",
            "HF_TOKEN": "hf_secret",
            "REHEARSAL_POD_IP": "127.1.2.3",
        },
        directory=Path("/pod/vllm"),
    )


def test_a_pod_overrules_its_home_but_not_the_variables_of_the_rehearsal() -> None:
    started = _launch(
        _container(env=[{"name": "HOME", "value": "/home/vllm"}, {"name": "REHEARSAL_POD_IP", "value": "0.0.0.0"}])
    )

    assert isinstance(started, Launch)
    assert (started.environment["HOME"], started.environment["REHEARSAL_POD_IP"]) == ("/home/vllm", "127.1.2.3")


_OPTIONAL = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token", "optional": True}}}
_FIELD = {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


@pytest.mark.parametrize(
    ("container", "secrets", "reason", "message"),
    [
        pytest.param(
            _container(image="nginx:1"),
            {},
            "ErrImagePull",
            'no program stands for image "nginx:1"; known images: vllm/, vllm/vllm-openai',
            id="no program stands for the image",
        ),
        pytest.param(
            _container(env=[_TOKEN]),
            {"hf": None},
            "CreateContainerConfigError",
            'secret "hf" not found',
            id="the secret is missing",
        ),
        pytest.param(
            _container(env=[_TOKEN]),
            {"hf": {"other": "x"}},
            "CreateContainerConfigError",
            "couldn't find key token in Secret hf",
            id="the secret lacks the key",
        ),
        pytest.param(
            _container(env=[_FIELD]),
            {},
            "CreateContainerConfigError",
            "the rehearsal's node does not support the field metadata.name",
            id="a field that the pod does not have",
        ),
        pytest.param(
            _container(env=[{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}]),
            {},
            "CreateContainerConfigError",
            "the rehearsal's node does not support resourceFieldRef",
            id="a source that the node does not know",
        ),
        pytest.param(
            _container(envFrom=[{"secretRef": {"name": "hf"}}]),
            {},
            "CreateContainerConfigError",
            "the rehearsal's node does not support envFrom",
            id="envFrom",
        ),
    ],
)
def test_what_cannot_start_says_why(container: dict[str, Any], secrets: Any, reason: str, message: str) -> None:
    assert _launch(container, secrets) == CannotStart(reason, message)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "operator-1"),
        ("metadata.namespace", "serving"),
        ("metadata.labels['app.kubernetes.io/name']", "specdecode-operator"),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "specdecode-operator"),
        ("status.podIP", "127.1.2.3"),
        ("status.hostIP", "127.1.2.1"),
    ],
)
def test_a_variable_may_say_what_the_pod_is(path: str, value: str) -> None:
    metadata = {
        "name": "operator-1",
        "namespace": "serving",
        "uid": "1",
        "labels": {"app.kubernetes.io/name": "specdecode-operator"},
    }
    spec = {"nodeName": "node-1", "serviceAccountName": "specdecode-operator"}
    fields = pod_fields({"metadata": metadata, "spec": spec}, "127.1.2.3", "127.1.2.1")

    started = launch(
        _container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]),
        programs={"vllm/": ["engine"]},
        secrets={},
        root=Path("/pod"),
        rehearsal={},
        fields=fields,
    )

    assert isinstance(started, Launch)
    assert started.environment["A"] == value


def test_an_optional_secret_may_be_missing() -> None:
    started = _launch(_container(env=[_OPTIONAL]), {"hf": None})

    assert isinstance(started, Launch)
    assert "A" not in started.environment


def test_the_secrets_of_a_container_are_known_before_it_starts() -> None:
    assert secret_names(_container(env=[_TOKEN, _FIELD, {"name": "B", "value": "b"}])) == {"hf"}
    assert secret_names(_container()) == frozenset()


def test_a_second_failed_pull_is_a_back_off_and_a_wrong_configuration_stays_one() -> None:
    again = CannotStart("ErrImagePull", "no such image").again()

    assert again == CannotStart("ImagePullBackOff", "Back-off pulling image: ErrImagePull: no such image")
    assert again.again() == again
    assert CannotStart("CreateContainerConfigError", "x").again() == CannotStart("CreateContainerConfigError", "x")


@pytest.mark.parametrize(
    ("starts_in_vain", "seconds"),
    [
        pytest.param(0, 0, id="the first crash is answered at once"),
        pytest.param(1, 10, id="the second after ten seconds"),
        pytest.param(2, 20, id="then twice as long"),
        pytest.param(5, 160, id="and twice as long"),
        pytest.param(6, 300, id="but never longer than five minutes"),
        pytest.param(5000, 300, id="however often it crashes"),
    ],
)
def test_the_back_off_is_the_kubelets(starts_in_vain: int, seconds: float) -> None:
    assert back_off_seconds(starts_in_vain) == seconds


@pytest.mark.parametrize(
    ("policy", "exit_code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_decides(policy: str, exit_code: int, *, again: bool) -> None:
    assert is_restarted(policy, exit_code) is again


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        pytest.param("", None, id="nothing was asked yet"),
        pytest.param("+", None, id="one good answer of two"),
        pytest.param("++", True, id="good answers in a row"),
        pytest.param("+-+", None, id="a bad answer between them starts the count anew"),
        pytest.param("++--", None, id="a few bad answers after good ones say nothing yet"),
        pytest.param("++---", False, id="bad answers in a row"),
        pytest.param("-----", False, id="never a good one"),
        pytest.param("---++", True, id="recovered"),
    ],
)
def test_a_probe_means_something_only_after_its_thresholds(answers: str, *, verdict: bool | None) -> None:
    tally = Tally(Probe("/health", 8000, success_threshold=2, failure_threshold=3))
    for answer in answers:
        tally = tally.after(ok=answer == "+")

    assert tally.verdict is verdict


def test_a_probe_finds_its_port_by_name_and_has_the_api_servers_defaults() -> None:
    ports = [{"containerPort": 9000}, {"name": "http", "containerPort": 8000}]
    body = _container(
        ports=ports,
        readinessProbe={"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
        livenessProbe={"httpGet": {"port": 9000}, "initialDelaySeconds": 4},
    )

    assert read_probe(body, "readinessProbe") == Probe("/health", 8000, period_seconds=1)
    assert read_probe(body, "livenessProbe") == Probe("/", 9000, initial_delay_seconds=4)
    assert read_probe(body, "startupProbe") is None


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({"exec": {"command": ["true"]}}, "supports httpGet probes only, not this livenessProbe"),
        ({"httpGet": {"port": "web"}}, "no port named web"),
    ],
)
def test_a_probe_that_cannot_be_asked_is_refused(probe: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedProbeError, match=message):
        read_probe(_container(livenessProbe=probe), "livenessProbe")


@pytest.mark.parametrize(
    ("returncode", "exit_code", "reason", "message"),
    [
        pytest.param(0, 0, "Completed", "", id="a good end needs no words"),
        pytest.param(1, 1, "Error", "last words", id="a crash"),
        pytest.param(-15, 143, "Error", "last words", id="ended by SIGTERM"),
        pytest.param(-9, 137, "Error", "last words", id="killed from outside: not for its memory"),
        pytest.param(137, 137, "OOMKilled", "last words", id="a program that plays out of memory"),
    ],
)
def test_the_end_of_a_process_in_the_kubelets_words(returncode: int, exit_code: int, reason: str, message: str) -> None:
    end = termination(returncode, "last words", keeps_log=True, started_at=_THEN, finished_at=_NOW)

    assert end == Terminated(exit_code, reason, message, _THEN, _NOW)
    assert termination(returncode, "x", keeps_log=False, started_at=_THEN, finished_at=_NOW).message == ""


def test_last_words_are_the_end_of_the_log_and_no_more_than_the_kubelet_keeps() -> None:
    assert last_words("\n".join(map(str, range(100)))).splitlines() == [str(line) for line in range(20, 100)]
    long = last_words("ü" * 4000)
    assert len(long.encode()) <= LAST_WORDS_BYTES
    assert set(long) == {"ü"}, "cut between characters"


_CRASH = Terminated(1, "Error", "no memory", _THEN, _THEN)


def _snapshot(state: State, **fields: Any) -> Snapshot:
    return Snapshot("vllm", "vllm/vllm-openai:v0.32.0", state, **fields)


def _status(*containers: Snapshot, restart_policy: str = "Always", previous: Any = ()) -> dict[str, Any]:
    return pod_status(
        containers,
        address="127.1.2.3",
        host_address="127.1.2.1",
        started_at=_THEN,
        restart_policy=restart_policy,
        previous=previous,
        now=_NOW,
    )


@pytest.mark.parametrize(
    ("policy", "containers", "phase", "ready"),
    [
        pytest.param(
            "Always", [_snapshot(Waiting("ContainerCreating"))], "Pending", "False", id="not started yet: pending"
        ),
        pytest.param(
            "Always", [_snapshot(Waiting("ErrImagePull", "no"))], "Pending", "False", id="cannot start: pending"
        ),
        pytest.param("Always", [_snapshot(Running(_THEN))], "Running", "False", id="running, not ready"),
        pytest.param(
            "Always", [_snapshot(Running(_THEN), started=True, ready=True)], "Running", "True", id="running and ready"
        ),
        pytest.param(
            "Always",
            [_snapshot(Running(_THEN), ready=True), _snapshot(Running(_THEN))],
            "Running",
            "False",
            id="one container of two is ready: the pod is not",
        ),
        pytest.param(
            "Always",
            [_snapshot(Waiting("CrashLoopBackOff"), last=_CRASH)],
            "Running",
            "False",
            id="between two starts: running",
        ),
        pytest.param("Always", [_snapshot(_CRASH)], "Running", "False", id="ended, to be started again: running"),
        pytest.param("Never", [_snapshot(_CRASH)], "Failed", "False", id="ended badly for good"),
        pytest.param(
            "OnFailure",
            [_snapshot(Terminated(0, "Completed", "", _THEN, _THEN))],
            "Succeeded",
            "False",
            id="ended well for good",
        ),
    ],
)
def test_phase_and_readiness_follow_from_the_containers(
    policy: str, containers: list[Snapshot], phase: str, ready: str
) -> None:
    status = _status(*containers, restart_policy=policy)

    assert status["phase"] == phase
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert conditions == {
        "PodScheduled": "True",
        "Initialized": "True",
        "ContainersReady": ready,
        "Ready": ready,
    }


def test_a_crash_loop_shows_the_wait_and_the_crash() -> None:
    waiting = _snapshot(Waiting("CrashLoopBackOff", "back-off 10s"), last=_CRASH, restarts=3)

    (container,) = _status(waiting)["containerStatuses"]

    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert container["lastState"] == {
        "terminated": {
            "exitCode": 1,
            "reason": "Error",
            "message": "no memory",
            "startedAt": "2026-11-22T12:00:00Z",
            "finishedAt": "2026-11-22T12:00:00Z",
        }
    }
    assert container["restartCount"] == 3


def test_a_condition_keeps_its_time_until_it_flips_and_foreign_ones_stay() -> None:
    foreign = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-11-22T11:00:00Z"}
    before = _status(_snapshot(Running(_THEN)))["conditions"]
    old = [condition | {"lastTransitionTime": "2026-11-22T11:00:00Z"} for condition in before]

    same = _status(_snapshot(Running(_THEN)), previous=[*old, foreign])["conditions"]
    flipped = _status(_snapshot(Running(_THEN), ready=True), previous=[*old, foreign])["conditions"]

    assert same == [*old, foreign]
    assert foreign in flipped
    assert {
        condition["type"] for condition in flipped if condition["lastTransitionTime"] == "2026-11-22T12:05:00Z"
    } == {
        "ContainersReady",
        "Ready",
    }
    assert not any("reason" in condition for condition in flipped), "yesterday's reason is gone"


def test_two_nodes_have_different_networks_and_an_address_rests_before_it_is_used_again() -> None:
    one, other = Addresses(), Addresses()
    try:
        assert one.host != other.host
        first = one.take()
        assert first.rpartition(".")[0] == one.host.rpartition(".")[0]
        one.give_back(first)
        assert one.take() != first
        for _ in range(252):
            one.take()
        with pytest.raises(AddressError, match="every address"):
            one.take()
    finally:
        one.release()
        other.release()


@pytest.mark.parametrize(
    ("lifecycle", "seconds"),
    [
        pytest.param(None, 0, id="no hook: no pause"),
        pytest.param({"preStop": {"sleep": {"seconds": 10}}}, 10, id="the action"),
        pytest.param({"preStop": {"exec": {"command": ["sleep", "15"]}}}, 15, id="the command"),
        pytest.param({"preStop": {"exec": {"command": ["sleep", "a while"]}}}, 0, id="no number: no pause"),
        pytest.param({"preStop": {"exec": {"command": ["sync"]}}}, 0, id="another command is not run"),
        pytest.param({"postStart": {}}, 0, id="another hook"),
    ],
)
def test_how_long_a_pre_stop_hook_only_waits(lifecycle: Any, seconds: float) -> None:
    assert pre_stop_seconds({"lifecycle": lifecycle}) == seconds
