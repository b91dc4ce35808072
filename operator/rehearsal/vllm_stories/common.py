"""What the stories of the real engine begin with, and how they ask it."""

from decimal import ROUND_UP, Decimal
from typing import Any

import httpx

from rehearsal.stage import NAME, Body, Stage
from rehearsal.stories.common import condition_is
from rehearsal.vllm.real import DRAFT, PRODUCT, TARGET
from specdecode.api.vocabulary import API_VERSION, KIND

START_WITHIN_SECONDS = 240
"""Measured on two cores: 25 to 31 s alone, twice that with another engine starting beside it."""
WINDOW_SECONDS = 30
BUDGET_MIB = 1024
"""Of the machine's memory, for one engine whose cache is pinned: the plan leaves 0.6 GiB of it for the KV cache."""
IMAGE = "vllm/vllm-openai:v0.32.0"

_ANSWER_SECONDS = 120.0
"""A second is usual; other engines may be starting on the same cores."""
_SHARE = Decimal("0.0001")


def manifest(stage: Stage, *, engine: Body | None = None, **spec: Any) -> Body:
    """The pair of the rehearsal on the CPU backend; `engine` replaces keys of its block, `spec` whole blocks.

    In float16, whose eleven bits of significand leave two tokens equally likely less often than the eight of bfloat16:
    then the answer would hang on how many tokens were computed at a time, which speculation changes.
    """
    body: Body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": NAME, "namespace": stage.namespace},
        "spec": {
            "replicas": 1,
            "model": {"name": TARGET, "dtype": "float16", "facts": dict(stage.engines.facts[TARGET])},
            "engine": engine_block(stage) | (engine or {}),
            "accelerator": {"product": PRODUCT, "memory": f"{stage.engines.memory_mib}Mi", "count": 1},
            "speculation": speculation(stage),
            "guard": {"window": f"{WINDOW_SECONDS}s"},
            "cache": {"claimName": stage.engines.claim_name},
            "podTemplate": {"nodeSelector": {"kubernetes.io/hostname": stage.node.name}},
        },
    }
    body["spec"] |= spec
    return body


def utilization(stage: Stage, budget_mib: int) -> str:
    """The share of the machine's memory that is this budget."""
    return str((Decimal(budget_mib) / stage.engines.memory_mib).quantize(_SHARE, ROUND_UP))


def engine_block(stage: Stage) -> Body:
    """A small server."""
    return {
        "image": IMAGE,
        "maxModelLen": 2048,
        "maxNumSeqs": 16,
        "maxNumBatchedTokens": 2048,
        "gpuMemoryUtilization": utilization(stage, BUDGET_MIB),
        "enforceEager": True,
        "pinKvCache": True,
    }


def speculation(stage: Stage, **changes: Any) -> Body:
    """The draft proposes three tokens; `changes` replaces keys."""
    draft = {"name": DRAFT, "facts": dict(stage.engines.facts[DRAFT])}
    return {"method": "draft_model", "numSpeculativeTokens": 3, "draft": draft} | changes


async def serving(stage: Stage, text: str = "it serves") -> None:
    """Wait until every replica serves what is wanted."""
    probe = condition_is(stage, "Ready", "True", "Serving")
    await stage.expect(text, probe, within=START_WITHIN_SECONDS)


async def answers(stage: Stage, prompts: tuple[str, ...], max_tokens: int) -> list[list[str]]:
    """Greedy answers of the first ready engine, token by token, one request at a time."""
    address = stage.ready_addresses()[0]
    found = []
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=_ANSWER_SECONDS, trust_env=False) as client:
        for prompt in prompts:
            body = {"model": TARGET, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
            # An end-of-text token would cut an answer short, and equal answers of one token prove little.
            reply = await client.post("/v1/completions", json=body | {"ignore_eos": True, "logprobs": 0})
            found.append(list(reply.raise_for_status().json()["choices"][0]["logprobs"]["tokens"]))
    return found


async def cache_labels(stage: Stage) -> dict[str, str]:
    """What the running engine says of its KV cache, as Prometheus has scraped it: `vllm:cache_config_info`."""
    (pod,) = [pod.name for pod in stage.pods() if pod.ready and not pod.terminating]
    found = await stage.prometheus.query(f'vllm:cache_config_info{{pod="{pod}"}}')
    return dict(found[0]["metric"]) if found else {}
