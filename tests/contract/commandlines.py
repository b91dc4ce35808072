"""From a resource to command lines that a real engine can be asked about, and what it must make of them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.standins import stand_ins

from specdecode.api.resource import Rejection, SpecDecodeDeployment
from specdecode.api.vocabulary import Mode
from specdecode.plan.knowledge import NOTHING_MORE
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan
from specdecode.plan.workload import Workload, look_up


@dataclass(frozen=True)
class CommandLine:
    """One mode of a resource."""

    mode: Mode
    arguments: tuple[str, ...]
    """As the pod would have it."""
    local: tuple[str, ...]
    """The same with directories in place of the models."""
    has_latent_attention: bool
    """Whether the target's is MLA."""


def planned(resource: SpecDecodeDeployment) -> Plan:
    plan = make_plan(resource)
    assert isinstance(plan, Plan), str(plan)
    return plan


def workload(resource: SpecDecodeDeployment) -> Workload:
    found = look_up(resource, NOTHING_MORE)
    assert not isinstance(found, Rejection), str(found)
    return found


def command_lines(resource: SpecDecodeDeployment, models: Path) -> list[CommandLine]:
    """Every mode of the ladder, whether it fits or not: the flags must be right either way."""
    facts = workload(resource)
    replaced = stand_ins(models, facts.target, facts.draft)
    return [
        CommandLine(
            mode.mode,
            mode.arguments,
            tuple(replaced.put_into(mode.arguments)),
            has_latent_attention=facts.target.kv_lora_rank is not None,
        )
        for mode in planned(resource).ladder
    ]


def expected(arguments: tuple[str, ...]) -> dict[str, Any]:
    """What the engine must have understood, by vLLM's own names, read back from what we wrote."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments if "=" in argument)
    speculation = json.loads(given.get("speculative-config", "{}"))
    whole = {
        "max_model_len": int(given["max-model-len"]),
        "max_num_seqs": int(given["max-num-seqs"]),
        "max_num_batched_tokens": int(given["max-num-batched-tokens"]),
        "tensor_parallel_size": int(given["tensor-parallel-size"]),
        "gpu_memory_utilization": float(given["gpu-memory-utilization"]),
        "method": speculation.get("method"),
        "num_speculative_tokens": speculation.get("num_speculative_tokens"),
    }
    if "kv-cache-memory-bytes" in given:
        whole["kv_cache_memory_bytes"] = int(given["kv-cache-memory-bytes"])
    if "quantization" in given:
        whole["quantization"] = given["quantization"]
    if given["kv-cache-dtype"] != "auto":
        whole["kv_cache_dtype"] = given["kv-cache-dtype"]
    if "kv_cache_dtype" in speculation:
        whole["draft_kv_cache_dtype"] = speculation["kv_cache_dtype"]
    if "quantization" in speculation:
        whole["draft_quantization"] = speculation["quantization"]
    return whole
