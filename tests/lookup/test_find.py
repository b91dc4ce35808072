"""Which models are looked up, and where first."""

import json
from pathlib import Path

import pytest
from builders import resource
from lookup.checkpoints import CONFIG, PARAMETERS, one_file, two_files
from lookup.hub_server import Hub, serving

from specdecode.api.resource import Problem
from specdecode.engine.facts import ModelFacts
from specdecode.lookup.find import Sources, Wanted, look_up, wanted_models
from specdecode.lookup.hub import HubOptions
from specdecode.plan.knowledge import Knowledge
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

FACTS = {
    "architecture": "LlamaForCausalLM",
    "numHiddenLayers": 2,
    "hiddenSize": 64,
    "numAttentionHeads": 8,
    "numKeyValueHeads": 2,
    "vocabSize": 128256,
    "parameters": 16_000_000,
}
DRAFT_ON_CLAIM = {"spec.speculation.draft.name": "/models/draft", "spec.cache": {"claimName": "models"}}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        pytest.param({}, (), id="both are in the catalogue"),
        pytest.param(
            {"spec.model.name": "own/model", "spec.model.revision": "v1"},
            (Wanted("spec.model", "own/model", "v1"),),
            id="an unknown target at its revision",
        ),
        pytest.param(
            {"spec.model.name": "own/model", **DRAFT_ON_CLAIM},
            (Wanted("spec.model", "own/model"), Wanted("spec.speculation.draft", "/models/draft")),
            id="both unknown, target first",
        ),
        pytest.param({"spec.model.name": "own/model", "spec.model.facts": FACTS}, (), id="the spec says it all"),
        pytest.param({"spec.model.name": "Qwen/Qwen3.5-27B"}, (), id="known to be impossible"),
    ],
)
def test_models_that_nobody_described(changes: dict[str, object], wanted: tuple[Wanted, ...]) -> None:
    assert wanted_models(resource(**changes)) == wanted


def test_without_speculation_there_is_no_draft_to_look_up() -> None:
    plain = resource(**{"spec.model.name": "own/model", "spec.speculation": None})
    assert [model.field for model in wanted_models(plain)] == ["spec.model"]


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        pytest.param(Sources(), "own/model", id="nothing is allowed"),
        pytest.param(Sources(), "/models/own", id="nor for a path"),
        pytest.param(Sources(is_hub_allowed=True), "/models/own", id="a path is not asked of the hub"),
    ],
)
def test_what_no_source_may_answer_is_left_to_the_plan(sources: Sources, name: str) -> None:
    assert look_up([Wanted("spec.model", name)], sources) == {}


@pytest.mark.parametrize(
    ("sources", "is_any"),
    [
        (Sources(), False),
        (Sources(is_hub_allowed=True), True),
        (Sources(models_directory=Path("/models")), True),
    ],
)
def test_whether_there_is_anywhere_to_look(sources: Sources, *, is_any: bool) -> None:
    assert sources.is_any_allowed is is_any


def _download(root: Path, *, complete: bool) -> None:
    snapshot = root / "hub" / "models--own--model" / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    for name, text in two_files().items():
        if complete or not name.startswith("model-00002"):
            (snapshot / name).write_bytes(text)


@pytest.mark.parametrize(
    ("complete", "asked"),
    [
        pytest.param(True, False, id="what is mounted is not asked of the hub"),
        pytest.param(False, True, id="an interrupted download is"),
    ],
)
def test_mounted_first_then_the_hub(tmp_path: Path, *, complete: bool, asked: bool) -> None:
    _download(tmp_path, complete=complete)
    with serving(Hub(one_file())) as hub:
        wanted = Wanted("spec.model", "own/model")
        sources = Sources(models_directory=tmp_path, is_hub_allowed=True, hub=HubOptions(hub.url))
        facts = look_up([wanted], sources)[wanted.key]
    assert isinstance(facts, ModelFacts)
    assert facts.parameters == PARAMETERS
    assert bool(hub.asked) is asked


def test_a_plan_is_made_from_what_was_found(tmp_path: Path) -> None:
    same_vocabulary = json.dumps(CONFIG | {"vocab_size": 128256}).encode()
    (tmp_path / "draft").mkdir()
    for name, text in (one_file() | {"config.json": same_vocabulary}).items():
        (tmp_path / "draft" / name).write_bytes(text)
    wanting = resource(**DRAFT_ON_CLAIM)
    found = look_up(wanted_models(wanting), Sources(models_directory=tmp_path))
    plan = make_plan(wanting, Knowledge(models=found))
    assert isinstance(plan, Plan)
    assert f"draft /models/draft: files in {tmp_path / 'draft'}" in plan.sources


def test_the_reason_why_nothing_was_found_reaches_the_user(tmp_path: Path) -> None:
    wanting = resource(**DRAFT_ON_CLAIM)
    found = look_up(wanted_models(wanting), Sources(models_directory=tmp_path))
    rejection = make_plan(wanting, Knowledge(models=found))
    assert not isinstance(rejection, Plan)
    (problem,) = rejection.problems
    assert isinstance(problem, Problem)
    assert problem.field == "spec.speculation.draft.name"
    assert "is no directory" in problem.message
