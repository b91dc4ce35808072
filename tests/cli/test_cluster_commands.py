"""The commands for a cluster: what is asked of it, what is printed, with which exit code, and never a traceback."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from builders import NOW, with_overrides
from cli.api_stub import Api, kubeconfig, serving
from cli.stored import CASES
from typer.testing import CliRunner, Result

from specdecode.cli import app

Body = dict[str, Any]
ROLLED_BACK = CASES["rolled-back-helped"]().body
HEALTHY = CASES["healthy"]().body


def named(body: Body, name: str, namespace: str = "serving") -> Body:
    return body | {"metadata": body["metadata"] | {"name": name, "namespace": namespace}}


class Then(datetime):
    """The clock stands where the stored deployments were left."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Then":
        return cls.fromtimestamp(NOW.timestamp(), tz)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdecode.cli.cluster.options.datetime", Then)


@pytest.fixture
def api() -> Api:
    return Api(ROLLED_BACK, named(HEALTHY, "chat-eu"), named(HEALTHY, "far", "elsewhere"))


@pytest.fixture
def config(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with serving(api, tmp_path) as path:
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield path


def run(*arguments: str, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["status"], ["chat ", "chat-eu", "RolledBack"], id="all of the context's namespace"),
        pytest.param(["status", "-A"], ["NAMESPACE", "elsewhere", "far"], id="all of the cluster"),
        pytest.param(["status", "-n", "nowhere"], ["no SpecDecodeDeployment in namespace nowhere"], id="none"),
        pytest.param(["status", "chat"], ["serving/chat", "retry chat -n serving"], id="one"),
        pytest.param(["status", "sdd/chat"], ["serving/chat"], id="one, with its type"),
        pytest.param(["status", "specdecodedeployments.specdecode.io/chat"], ["serving/chat"], id="type in full"),
        pytest.param(["status", "far", "-n", "elsewhere"], ["elsewhere/far"], id="another namespace"),
        pytest.param(
            ["status", "far", "--context", "elsewhere"], ["elsewhere/far"], id="the namespace of another context"
        ),
        pytest.param(["status", "chat", "-o", "yaml"], ["word: RolledBack"], id="yaml"),
        pytest.param(["history", "chat"], ["RolledBack", "QuantizedDraft -> Off", "yes"], id="history"),
        pytest.param(["history", "chat", "-o", "json"], ['"helped": "yes"'], id="history as JSON"),
        pytest.param(["explain", "chat"], ["Acts     AcceptanceCollapsed", "What would change it"], id="explain"),
        pytest.param(["explain", "chat", "-o", "json"], ['"outcome": "Acts"'], id="explain as JSON"),
    ],
)
def test_what_is_printed(arguments: list[str], words: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    for word in words:
        assert word in result.stdout


@pytest.mark.usefixtures("config")
def test_all_in_one_document() -> None:
    documents = json.loads(run("status", "-A", "-o", "json").stdout)
    assert {(each["namespace"], each["name"]) for each in documents} == {
        ("serving", "chat"),
        ("serving", "chat-eu"),
        ("elsewhere", "far"),
    }


def test_the_option_comes_before_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    assert run("status", "--kubeconfig", str(config)).exit_code == 0
    result = run("status")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no cluster to talk to: ")


def test_without_a_kubeconfig_the_pod_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert "no cluster to talk to" in run("status").stderr
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    assert "no cluster to talk to" in run("status").stderr  # there is no token of a pod here


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("refusals", "arguments", "words"),
    [
        pytest.param({}, ["status", "chta"], "namespace 'serving'; there is: chat, chat-eu", id="a slip of the pen"),
        pytest.param({}, ["status", "x", "-n", "void"], "nor any other; name a namespace with -n", id="an empty place"),
        pytest.param({}, ["status", "pod/chat"], "'pod/chat' names no SpecDecodeDeployment", id="another type"),
        pytest.param({}, ["status", "sdd/"], "write NAME or sdd/NAME", id="a type and no name"),
        pytest.param(
            {"LIST": (404, "the server could not find the requested resource")},
            ["status"],
            "the CRD is not installed. Install it with the chart, or: specdecode crd | kubectl apply",
            id="no CRD",
        ),
        pytest.param(
            {"LIST": (404, "no"), "GET": (404, "no")}, ["status", "chat"], "the CRD is not installed", id="no CRD, one"
        ),
        pytest.param(
            {"LIST": (403, "cannot list")},
            ["status"],
            "you may not list specdecodedeployments.specdecode.io in namespace serving: cannot list",
            id="may not list",
        ),
        pytest.param(
            {"LIST": (403, "cannot list")}, ["status", "-A"], "in the whole cluster: cannot list; name a", id="nor all"
        ),
        pytest.param({"GET": (403, "cannot get")}, ["explain", "chat"], "you may not get", id="may not get"),
        pytest.param({"GET": (401, "Unauthorized")}, ["status", "chat"], "does not know you", id="not logged in"),
        pytest.param({"GET": (503, "busy")}, ["status", "chat"], "answers 503: busy; try again", id="busy"),
        pytest.param({"GET": (400, "odd")}, ["status", "chat"], "refuses it: odd", id="refused"),
        pytest.param(
            {"PATCH": (403, "cannot patch")},
            ["retry", "chat"],
            "you may read chat but not change it: cannot patch; ask for the verb patch",
            id="may only read",
        ),
        pytest.param({"PATCH": (404, "gone")}, ["retry", "chat"], "'chat' in namespace", id="gone meanwhile"),
        pytest.param({}, ["retry", "chat-eu"], "chat-eu is not rolled back", id="nothing to retry"),
        pytest.param({}, ["force", "chat", "Draft"], "Draft is not on the ladder of chat", id="no such rung"),
    ],
)
def test_what_goes_wrong_is_one_line(
    api: Api, refusals: dict[str, tuple[int, str]], arguments: list[str], words: str
) -> None:
    api.refusals = refusals
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words.replace("'", "") in result.stderr.replace("'", "")
    assert api.patches == []


def test_a_cluster_out_of_reach_is_said_at_once(tmp_path: Path, unused_tcp_port: int) -> None:
    path = kubeconfig(tmp_path, f"http://127.0.0.1:{unused_tcp_port}", "serving")
    result = run("status", "--kubeconfig", str(path))
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the cluster is out of reach: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("content", ["{", "just words", "\x00\x01", "clusters: 3", ""])
def test_a_broken_kubeconfig_is_no_traceback(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken"
    path.write_text(content)
    result = run("status", "--kubeconfig", str(path))
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no cluster to talk to: ")


@pytest.mark.usefixtures("config")
def test_an_unknown_context_is_said() -> None:
    assert "no cluster to talk to: " in run("status", "--context", "nowhere").stderr


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["status", "chat", "-A"], id="one, and all"),
        pytest.param(["status", "chat", "--watch", "-o", "json"], id="watched by a script"),
        pytest.param(["force", "chat"], id="forced to nothing"),
        pytest.param(["force", "chat", "Off", "--clear"], id="forced and cleared"),
    ],
)
def test_misuse(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "error: nothing to" in result.stderr


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("arguments", "annotations"),
    [
        (["pause", "chat"], {"specdecode.io/paused": "true"}),
        (["force", "sdd/chat", "off", "--dry-run", "server"], {"specdecode.io/force-mode": "Off"}),
    ],
)
def test_only_annotations_are_patched(api: Api, arguments: list[str], annotations: dict[str, str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    ((query, patch),) = api.patches
    assert patch == {"metadata": {"annotations": annotations}}
    assert "fieldManager=kubectl-specdecode" in query
    assert ("dryRun=All" in query) == ("nothing was changed" in result.stdout) == ("server" in arguments)


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    "arguments", [["resume", "chat"], ["force", "chat", "--clear"], ["retry", "chat", "--dry-run=client"]]
)
def test_what_is_so_already_or_only_tried_is_not_written(api: Api, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 0
    assert api.patches == []


@pytest.mark.usefixtures("config")
def test_an_annotation_for_scripts() -> None:
    document = json.loads(run("retry", "chat", "-o", "json").stdout)
    assert list(document["annotations"]) == ["specdecode.io/retry"]
    assert "QuantizedDraft replaces Off" in document["willHappen"][0]


def test_watching_ends_quietly(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["specdecode.cli.status"], "asyncio", SimpleNamespace(sleep=interrupted))
    result = run("status", "chat", "--watch", "--kubeconfig", str(config))
    assert result.exit_code == 0
    assert "RolledBack" in result.stdout


def edited(body: Body, **overrides: Any) -> str:
    """The manifest in Git: no status, and a change."""
    manifest = {name: part for name, part in body.items() if name != "status"}
    placed = {"name": body["metadata"]["name"]}
    return yaml.safe_dump(with_overrides(json.loads(json.dumps(manifest | {"metadata": placed})), overrides))


NEXT = {"spec.speculation.numSpeculativeTokens": 3}


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("manifest", "exit_code", "words"),
    [
        pytest.param(edited(ROLLED_BACK), 0, ["serving/chat: no difference"], id="nothing changed"),
        pytest.param(
            edited(ROLLED_BACK, **NEXT),
            1,
            ["QuantizedDraft instead of Off", "all restart", "1 serve meanwhile", "ends: the spec hash is another"],
            id="re-armed",
        ),
        pytest.param(
            edited(ROLLED_BACK, **{"spec.replicas": 3}),
            1,
            ["none restarts", "the rollback to Off (AcceptanceCollapsed) stays", "2 -> 3 replicas"],
            id="scaled",
        ),
        pytest.param(
            edited(ROLLED_BACK, **{"spec.accelerator.count": 1}),
            1,
            ["DoesNotFit: QuantizedDraft: short by 10.7Gi per GPU", "what runs stays"],
            id="does not fit",
        ),
        pytest.param(
            edited(ROLLED_BACK, **{"spec.model.name": "acme/unheard-of"}), 1, ["ModelFactsMissing"], id="not planned"
        ),
        pytest.param(
            edited(ROLLED_BACK, **{"metadata.name": "second"}), 1, ["would be created", "starts"], id="a new one"
        ),
        pytest.param(
            edited(ROLLED_BACK, **{"metadata.name": "second", "spec.accelerator.count": 1}),
            1,
            ["would be created", "starts nothing"],
            id="a new one that does not fit",
        ),
        pytest.param(
            edited(named(HEALTHY, "far"), **{"metadata.namespace": "elsewhere", "spec.replicas": 1, **NEXT}),
            1,
            ["elsewhere/far", "no service for about 5 min: the only pod goes before the new one comes"],
            id="the namespace of the file, one replica",
        ),
    ],
)
def test_diff(manifest: str, exit_code: int, words: list[str]) -> None:
    result = run("diff", "-f", "-", stdin=manifest)
    assert result.exit_code == exit_code, result.stderr
    told = " ".join(result.stdout.split())
    for word in words:
        assert word in told


@pytest.mark.usefixtures("config")
def test_a_paused_deployment_does_not_change(api: Api) -> None:
    api.bodies["serving", "chat"] = CASES["paused"]().body
    result = run("diff", "-f", "-", stdin=edited(api.bodies["serving", "chat"], **{"spec.engine.maxNumSeqs": 32}))
    assert result.exit_code == 1
    assert "it is paused: nothing changes until" in " ".join(result.stdout.split())


@pytest.mark.usefixtures("config")
def test_what_runs_before_a_spec_that_never_fitted_restarts(api: Api) -> None:
    api.bodies["serving", "chat"] = CASES["does-not-fit"]().body
    manifest = edited(api.bodies["serving", "chat"], **{"spec.model.quantization": "fp8_per_tensor"})
    result = run("diff", "-f", "-", stdin=manifest)
    assert "all restart: what runs is of a spec before the stored one" in " ".join(result.stdout.split())


@pytest.mark.usefixtures("config")
def test_diff_for_scripts() -> None:
    result = run("diff", "-f", "-", "-o", "json", stdin=edited(ROLLED_BACK, **NEXT))
    (change,) = json.loads(result.stdout)
    assert result.exit_code == 1
    assert change["modes"] == ["Off", "QuantizedDraft"]
    assert change["service"]["replicas"] == 2
    assert run("diff", "-f", "-", "-o", "yaml", stdin=edited(ROLLED_BACK)).exit_code == 0


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("manifest", "refusals", "words"),
    [
        pytest.param("kind: Pod", {}, "InvalidSpec", id="no resource of ours"),
        pytest.param("{", {}, "is not YAML", id="no YAML"),
        pytest.param(edited(ROLLED_BACK), {"LIST": (403, "no")}, "you may not list", id="may not look"),
    ],
)
def test_an_error_is_no_difference(api: Api, manifest: str, refusals: dict[str, tuple[int, str]], words: str) -> None:
    api.refusals = refusals
    result = run("diff", "-f", "-", stdin=manifest)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.usefixtures("config")
def test_a_stored_spec_of_another_version_is_an_error(api: Api) -> None:
    api.bodies["serving", "chat"] = ROLLED_BACK | {"spec": {"mood": "good"}}
    result = run("diff", "-f", "-", stdin=edited(ROLLED_BACK))
    assert result.exit_code == 2
    assert "chat in the cluster cannot be read by this version" in result.stderr
