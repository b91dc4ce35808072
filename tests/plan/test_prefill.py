"""The first engine generation takes prompts whole, and a batch left at its default makes room for them."""

from typing import Any

import pytest
from builders import ABSENT, resource

from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

OFF: dict[str, Any] = {
    "spec.model": {"name": "Qwen/Qwen2.5-1.5B-Instruct"},
    "spec.speculation": ABSENT,
    "spec.accelerator.count": 1,
    "spec.engine.maxModelLen": 16_384,
}
NGRAM = OFF | {"spec.speculation": {"method": "ngram", "numSpeculativeTokens": 3}}
T4 = {"spec.accelerator.product": "Tesla-T4", "spec.model.dtype": "float16"}
CHUNKED = {"spec.engine.extraArgs": [{"name": "enable-chunked-prefill"}]}


def batch(version: str, overrides: dict[str, Any]) -> int:
    plan = make_plan(resource(**overrides, **{"spec.engine.image": f"vllm/vllm-openai:v{version}"}))
    assert isinstance(plan, Plan), str(plan)
    flag = next(argument for argument in plan.requested.arguments if "max-num-batched-tokens" in argument)
    return int(flag.partition("=")[2])


@pytest.mark.parametrize(
    ("version", "overrides", "tokens"),
    [
        pytest.param("0.7.3", OFF, 16_384, id="the first generation gets the longest prompt"),
        pytest.param("0.7.3", OFF | {"spec.engine.maxModelLen": 4096}, 8192, id="a short one fits the default"),
        pytest.param("0.7.3", OFF | CHUNKED, 8192, id="prompts that are cut need no room"),
        pytest.param(
            "0.7.3",
            {**OFF, "spec.model": {"name": "meta-llama/Llama-3.2-1B"}, "spec.engine.maxModelLen": 65_536},
            8192,
            id="beyond 32768 it cuts by itself",
        ),
        pytest.param("0.8.5", NGRAM, 16_384, id="speculation that falls back to it"),
        pytest.param("0.9.2", OFF, 8192, id="the second generation cuts every prompt"),
        pytest.param("0.9.2", OFF | T4, 16_384, id="a card that only the first one serves"),
        pytest.param("0.32.0", OFF, 8192, id="today"),
        pytest.param("0.9.2", OFF | T4 | {"spec.engine.maxNumBatchedTokens": 20_000}, 20_000, id="what is asked stays"),
    ],
)
def test_the_batch_that_is_asked_for(version: str, overrides: dict[str, Any], tokens: int) -> None:
    assert batch(version, overrides) == tokens
