"""vLLM itself starts on CPU with the flags of a plan, and its numbers are the plan's."""

import asyncio
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import body, resource
from contract.served import one_at_a_time
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from rehearsal.vllm.environment import EngineEnvironment
from rehearsal.vllm.serve import Start, TinyPair, make_tiny_pair, start_once
from specdecode.api.vocabulary import CACHE_MOUNT, Mode
from specdecode.cli import app
from specdecode.engine.startup_log import StartupLog, parse_startup_log
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

GIB = 1024**3
CPU_BLOCK_TOKENS = 128
KEPT = Path(__file__).parents[1] / "data/engine/logs/vllm-0.32.0-cpu-draft.log"


def facts(parameters: int, layers: int) -> dict[str, Any]:
    """What the two config.json say."""
    return {
        "architecture": "LlamaForCausalLM",
        "numHiddenLayers": layers,
        "hiddenSize": 256,
        "intermediateSize": 512,
        "numAttentionHeads": 4,
        "numKeyValueHeads": 2,
        "headDim": 64,
        "vocabSize": 1024,
        "maxPositionEmbeddings": 2048,
        "parameters": parameters,
    }


def overrides(pair: TinyPair) -> dict[str, Any]:
    return {
        "spec.replicas": 1,
        "spec.model": {"name": f"{CACHE_MOUNT}/target", "facts": facts(pair.target_parameters, 6)},
        "spec.engine": {
            "image": "vllm/vllm-openai:v0.32.0",
            "maxModelLen": 2048,
            "maxNumSeqs": 16,
            "maxNumBatchedTokens": 2048,
            "gpuMemoryUtilization": "0.7",
            "enforceEager": True,
            # The CPU backend then takes exactly the plan's bytes, as a GPU does.
            "pinKvCache": True,
        },
        "spec.accelerator": {"product": "as-small-as-the-pair", "memory": "2Gi", "count": 1},
        "spec.speculation": {
            "method": "draft_model",
            "numSpeculativeTokens": 3,
            "draft": {"name": f"{CACHE_MOUNT}/draft", "facts": facts(pair.draft_parameters, 1)},
        },
        "spec.cache": {"claimName": "models"},
    }


@dataclass(frozen=True)
class Started:
    """A plan, and the engine that ran it."""

    pair: TinyPair
    plan: Plan
    start: Start

    @property
    def kv_cache_bytes(self) -> int:
        """As the plan pins it."""
        name = "--kv-cache-memory-bytes="
        (pinned,) = (text for text in self.plan.requested.arguments if text.startswith(name))
        return int(pinned.removeprefix(name))

    @property
    def cache(self) -> dict[str, str]:
        """Labels of `vllm:cache_config_info`."""
        return dict(self.samples("vllm:cache_config_info")[0][0])

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        return [
            (sample.labels, sample.value)
            for family in text_string_to_metric_families(self.start.metrics)
            for sample in family.samples
            if sample.name == name
        ]


@pytest.fixture(scope="module")
def started(engine_environment: EngineEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Started:
    folder = tmp_path_factory.mktemp("start")
    engine = engine_environment.running
    pair = asyncio.run(make_tiny_pair(engine, folder / "models"))
    plan = make_plan(resource(**overrides(pair)))
    assert isinstance(plan, Plan), str(plan)
    # The cache claim of a pod is mounted at /models; here it is a directory.
    arguments = [argument.replace(CACHE_MOUNT, str(folder / "models")) for argument in plan.requested.arguments]
    with one_at_a_time(engine):
        return Started(pair, plan, asyncio.run(start_once(engine, arguments, folder)))


def test_it_serves_with_the_flags_of_the_plan(started: Started) -> None:
    assert started.plan.requested_mode is Mode.DRAFT
    assert started.start.answer
    ((_, drafts),) = started.samples("vllm:spec_decode_num_drafts_total")
    ((_, proposed),) = started.samples("vllm:spec_decode_num_draft_tokens_total")
    assert drafts > 0
    assert proposed == 3 * drafts


def test_the_cache_has_the_bytes_of_the_plan(started: Started) -> None:
    assert int(started.cache["kv_cache_memory_bytes"]) == started.kv_cache_bytes
    assert started.kv_cache_bytes > GIB // 2


def test_bytes_per_token_are_exact(started: Started) -> None:
    """As many blocks fit as the plan's bytes per token say, and another number with one element more per token."""
    bytes_per_token = started.plan.requested.bytes_per_token
    blocks, block_tokens = int(started.cache["num_gpu_blocks"]), int(started.cache["block_size"])
    assert block_tokens == CPU_BLOCK_TOKENS
    assert blocks == started.kv_cache_bytes // (block_tokens * bytes_per_token)
    assert blocks != started.kv_cache_bytes // (block_tokens * (bytes_per_token + 2))


def test_tokens_are_exact_in_metrics_and_in_the_log(started: Started) -> None:
    block_bytes = CPU_BLOCK_TOKENS * started.plan.requested.bytes_per_token
    expected = CPU_BLOCK_TOKENS * (started.kv_cache_bytes // block_bytes)
    assert int(started.cache["kv_cache_size_tokens"]) == expected
    logged = re.search(r"KV cache size: ([\d,]+) tokens", started.start.log)
    assert logged is not None
    assert int(logged[1].replace(",", "")) == expected


def test_weights_are_those_of_the_checkpoints(started: Started) -> None:
    """The CPU backend does not print what it loaded, so the files are the measure."""
    ledger = {line.name: -line.bytes for line in started.plan.requested.ledger}
    for name, model in (("targetWeights", started.pair.target), ("draftWeights", started.pair.draft)):
        stored = sum(file.stat().st_size for file in model.glob("*.safetensors"))
        assert ledger[name] == pytest.approx(stored, rel=0.02)


def scrubbed(log: str, folder: Path, engine: Path) -> str:
    """A log without this machine: folders of the test and of the environment, addresses."""
    named = log.replace(str(folder), "").replace(str(engine), "/opt/vllm")
    named = re.sub(r"file:///\S+", "file:///run/vllm", named)
    return re.sub(r"mq_connect_ip=\S+", "mq_connect_ip=127.0.0.1", named)


def test_the_kept_log_is_what_the_engine_still_says(started: Started, engine_environment: EngineEnvironment) -> None:
    """The fast tests read a kept log of this start; UPDATE_GOLDEN=1 writes it."""
    if os.environ.get("UPDATE_GOLDEN"):
        KEPT.write_text(scrubbed(started.start.log, started.pair.target.parents[1], engine_environment.folder))
    kept, fresh = parse_startup_log(KEPT.read_text()), parse_startup_log(started.start.log)
    assert isinstance(kept, StartupLog)
    assert isinstance(fresh, StartupLog)
    for name in ("version", "device", "kv_cache_bytes", "kv_cache_tokens", "max_concurrency", "is_kv_cache_pinned"):
        assert getattr(kept, name) == getattr(fresh, name), name


def test_the_command_finds_the_plan_in_the_log(started: Started, tmp_path: Path) -> None:
    spec, log = tmp_path / "spec.yaml", tmp_path / "engine.log"
    spec.write_text(yaml.safe_dump(body(**overrides(started.pair))))
    log.write_text(started.start.log)
    result = CliRunner().invoke(app, ["plan", "-f", str(spec), "--log", str(log), "-o", "json"])
    assert result.exit_code == 0, result.output
    comparison = json.loads(result.stdout)["comparison"]
    assert comparison["mode"] == "Draft"
    assert comparison["termOff"] is None
    tokens = {line["name"]: line for line in comparison["lines"]}["tokensInMeasuredKvCache"]
    assert tokens["measured"] == tokens["planned"] == int(started.cache["kv_cache_size_tokens"])


def test_the_command_names_tokens_that_are_not_the_plan_s(started: Started, tmp_path: Path) -> None:
    """The same log under a plan whose draft has one layer more: the check can fail."""
    spec, log = tmp_path / "spec.yaml", tmp_path / "engine.log"
    wrong = overrides(started.pair) | {"spec.speculation.draft.facts.numHiddenLayers": 2}
    spec.write_text(yaml.safe_dump(body(**wrong)))
    log.write_text(started.start.log)
    result = CliRunner().invoke(app, ["plan", "-f", str(spec), "--log", str(log), "-o", "json"])
    assert json.loads(result.stdout)["comparison"]["termOff"] is not None, result.output
