"""What others say, in the operator's own sentences and on its screens: the engine's last words, the API server's
refusals, Prometheus' errors, annotations, and a status that somebody else wrote. One line, and nothing that is obeyed.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import NOW, pod_fact
from cli.api_stub import Api, serving
from cli.stored import CASES
from gitops.states import Walk
from security.hostile import HOSTILE, unsafe_in_a_line
from typer.testing import CliRunner

from specdecode import kube
from specdecode.act import failure_of
from specdecode.api.resource import Problem, read_metadata, read_status
from specdecode.api.schema import custom_resource_definition
from specdecode.cli import app
from specdecode.decide.facts import Availability, Measurement
from specdecode.errors import RefusedError
from specdecode.notes import event_body, transitions
from specdecode.observe.cluster import pod_fact as fact_of
from specdecode.observe.prometheus import Failure, read_answer

Body = dict[str, Any]


def _crashed(text: str) -> Body:
    """A pod in a crash loop."""
    waiting = {"reason": "CrashLoopBackOff", "message": text}
    ended = {"reason": "Error", "exitCode": 1, "message": text}
    container = {"name": "vllm", "restartCount": 7, "state": {"waiting": waiting}, "lastState": {"terminated": ended}}
    labels = {"specdecode.io/mode": "QuantizedDraft"}
    return {
        "metadata": {"name": "chat-1", "creationTimestamp": "2026-11-22T10:00:00Z", "labels": labels},
        "spec": {"nodeName": "n"},
        "status": {
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-22T10:01:00Z"}],
            "containerStatuses": [container],
        },
    }


def crashed(text: str) -> Walk:
    """The engine's last words."""
    return Walk().look().applied(ready=0).look(pods=(fact_of(_crashed(text)),)).later(hours=2).look()


def unscheduled(text: str) -> Walk:
    """The scheduler's."""
    pod = pod_fact(is_ready=False, is_pending=True, waiting_reason="Unschedulable", message=text)
    return Walk().look().applied(ready=0).look(pods=(pod,)).later(hours=2).look()


def unreachable(text: str) -> Walk:
    """Why there is no measurement."""
    answer = read_answer(503, json.dumps({"status": "error", "error": text}).encode())
    assert isinstance(answer, Failure)
    return Walk().serving().look(measurement=Measurement(Availability.UNREACHABLE, answer.cause))


def refused(text: str) -> Walk:
    """Why the API server does not take what is wanted."""
    walk = Walk().look()
    assert walk.wanted is not None
    error = kube._error(422, json.dumps({"message": text}).encode(), {})
    assert isinstance(error, RefusedError)
    return walk.look(failure=failure_of(error, walk.wanted))


def looked_up(text: str) -> Walk:
    """Why a model is not known yet."""
    return Walk().look(awaited=(Problem("spec.model.name", text, text),))


def annotated(text: str) -> Walk:
    """What a person wrote, or somebody who may write annotations."""
    walk = Walk().serving().annotated(paused=text, force_mode=text, retry=text).look()
    return walk.annotated(paused="false").look()


def rebuilt(text: str) -> Walk:
    """A status that was lost, from a Deployment whose annotations are not ours any more."""
    walk = Walk().rolled_back()
    assert walk.deployment is not None
    metadata = walk.deployment["metadata"]
    ours = {key: value for key, value in metadata["annotations"].items() if key != "specdecode.io/reason"}
    annotations = ours | {"specdecode.io/reason": text}
    walk.deployment = {**walk.deployment, "metadata": {**metadata, "annotations": annotations}}
    walk.body = {**walk.body, "status": {}}
    return walk.look()


SPEAKERS: dict[str, Callable[[str], Walk]] = {
    "the engine": crashed,
    "the scheduler": unscheduled,
    "Prometheus": unreachable,
    "the API server": refused,
    "the model hub": looked_up,
    "annotations": annotated,
    "the Deployment's annotations": rebuilt,
}


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield key
            yield from _texts(child)
    elif isinstance(node, list):
        for child in node:
            yield from _texts(child)
    elif isinstance(node, str):
        yield node


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_nobody_gets_out_of_a_sentence(speaker: str) -> None:
    for text in HOSTILE:
        walk = SPEAKERS[speaker](text)
        status = read_status(walk.body)
        for said in _texts(status.to_wire()):
            assert not unsafe_in_a_line(said), (speaker, text, said)
            assert len(said) <= 4096
        for note in transitions(read_status({}), status, NOW):
            event = event_body(read_metadata(walk.body), note)
            assert len(event["message"]) <= 1024
            assert len(event["reason"]) <= 128
            assert not unsafe_in_a_line(event["message"])


# --- screens ---

_STATUS = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]


def _rewritten(schema: Any, value: Any, text: str) -> Any:
    """A status with `text` wherever the schema does not say which words there are."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return {name: _rewritten(known.get(name, {}), child, text) for name, child in value.items()}
    if isinstance(value, list):
        return [_rewritten(schema.get("items", {}), item, text) for item in value]
    is_free = schema.get("type") == "string" and not {"enum", "pattern", "format"} & schema.keys()
    return text[: schema.get("maxLength", 4096)] if is_free else value


def _shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stdout + result.stderr


SCREENS = (("status",), ("status", "chat"), ("explain", "chat"), ("history", "chat"))
LOUD = [text for text in HOSTILE if (unsafe_in_a_line(text) or "[" in text) and "\ud800" not in text]
"""Such as a terminal, or the markup of the screens, would obey. JSON from a server has no half of a character."""


@pytest.mark.parametrize("case", ["rolled-back-helped", "healthy"])
def test_nobody_gets_out_of_a_screen(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    good = CASES[case]().body
    key = good["metadata"]["namespace"], "chat"
    with serving(api, tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        for text in LOUD[::2] if case == "healthy" else LOUD[1::2]:
            status = _rewritten(_STATUS, good["status"], text)
            api.bodies[key] = {**good, "metadata": {**good["metadata"], "name": "chat"}, "status": status}
            for arguments in SCREENS:
                said = _shown(*arguments)
                assert not unsafe_in_a_line(said.replace("\n", "")), (arguments, text)


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_documents_say_what_is_there_and_are_obeyed_by_nobody(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = CASES["rolled-back-helped"]().body
    api = Api()
    with serving(api, tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        for text in LOUD:
            status = _rewritten(_STATUS, good["status"], text)
            api.bodies[good["metadata"]["namespace"], "chat"] = {**good, "status": status}
            said = _shown("history", "chat", "-o", output)
            assert not unsafe_in_a_line(said.replace("\n", "")), text
            document = json.loads(said) if output == "json" else yaml.safe_load(said)
            assert text[:4096] in list(_texts(document))


def test_nobody_gets_out_of_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(CASES["healthy"]().body)
    with serving(api, tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        for text in LOUD[::2]:
            api.refusals = {"GET": (403, text), "LIST": (503, text)}
            for arguments in (("status",), ("status", "chat")):
                said = _shown(*arguments)
                assert said.startswith("error: ")
                assert not unsafe_in_a_line(said.replace("\n", ""))
                assert said.count("\n") == 1
