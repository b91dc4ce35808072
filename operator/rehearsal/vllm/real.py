"""The real vLLM as the engines of a rehearsal: its environment, a pair of models, and the machine they share."""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from rehearsal.binaries.ways import Say
from rehearsal.engines import Engines
from rehearsal.traffic import Questions
from rehearsal.vllm.environment import ensure
from rehearsal.vllm.launcher import launcher_of
from rehearsal.vllm.serve import TinyPair, make_tiny_pair
from specdecode.api.vocabulary import CACHE_MOUNT

PRODUCT = "vLLM-CPU-backend"
TARGET, DRAFT = f"{CACHE_MOUNT}/target", f"{CACHE_MOUNT}/draft"

DIFFERENCE, SHARPNESS = 0.02, 4.0
"""See `temperature_shift` for what this pair accepts, and why it was chosen."""

_MIB = 1024**2
_MEMINFO = (Path("/sys/devices/system/node/node0/meminfo"), Path("/proc/meminfo"))
_FACTS = {
    "num_hidden_layers": "numHiddenLayers",
    "hidden_size": "hiddenSize",
    "intermediate_size": "intermediateSize",
    "num_attention_heads": "numAttentionHeads",
    "num_key_value_heads": "numKeyValueHeads",
    "head_dim": "headDim",
    "vocab_size": "vocabSize",
    "max_position_embeddings": "maxPositionEmbeddings",
}
_VERBS = ("parse", "format", "read", "write", "open", "close", "find", "count", "merge", "split", "check", "send")
_NOUNS = ("path", "node", "value", "line", "table", "option", "token", "buffer", "event", "group", "field", "date")


def prompts() -> tuple[str, ...]:
    """Beginnings of functions, in the language that the tokenizer was trained on."""
    return tuple(f"def {verb}_{noun}(self, {noun}):\n    " for verb in _VERBS for noun in _NOUNS)


def node_memory_mib() -> int:
    """Memory of the NUMA node that the CPU backend takes its share of, as vLLM itself reads it."""
    meminfo = next(path for path in _MEMINFO if path.is_file())
    (total,) = (line.split()[-2] for line in meminfo.read_text(encoding="utf-8").splitlines() if "MemTotal:" in line)
    return int(total) * 1024 // _MIB


def facts(folder: Path, parameters: int) -> dict[str, Any]:
    """`spec.model.facts` of a checkpoint: the numbers of its config.json."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    numbers = {name: config[key] for key, name in _FACTS.items()}
    return {"architecture": config["architectures"][0], "parameters": parameters, **numbers}


def _engines(pair: TinyPair, program: tuple[str, ...]) -> Engines:
    return Engines(
        program=program,
        product=PRODUCT,
        memory_mib=node_memory_mib(),
        questions=Questions(prompts=prompts(), model=TARGET, is_seeded=True),
        claim_name="models",
        facts={TARGET: facts(pair.target, pair.target_parameters), DRAFT: facts(pair.draft, pair.draft_parameters)},
    )


async def real_engines(directory: Path, say: Say) -> Engines:
    """Make what is missing: the environment once, the models below `directory`, each rehearsal anew (10 s).

    Raises:
        EnvironmentMissingError: there is no engine environment, and none can be made.
        ProcessError: the models cannot be made.
        LaunchError: this machine cannot run the engine.
    """
    engine = (await asyncio.to_thread(ensure, dict(os.environ), say)).running
    say(f"a target and a draft for vLLM {engine.release}")
    models = directory / "models"
    models.mkdir(parents=True)
    pair = await make_tiny_pair(engine, models, difference=DIFFERENCE, sharpness=SHARPNESS)
    scratch = Path(tempfile.mkdtemp(prefix="v", dir=directory))
    launcher = launcher_of(engine, models, scratch)
    launcher.check()
    return _engines(pair, launcher.program())
