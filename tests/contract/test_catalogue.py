"""Our reader of config.json against vLLM's own, on every model of the catalogue."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from contract.standins import make_model

from rehearsal.vllm.ask import Accepted, Asked
from specdecode.engine.catalogue import catalogue
from specdecode.engine.facts import ModelFacts

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

QUANTIZATION_SPELLINGS = {"mxfp4": "gpt_oss_mxfp4"}
"""What vLLM calls a checkpoint's method where config.json calls it otherwise, in gpt-oss."""


def configs() -> dict[str, dict[str, Any]]:
    """config.json of each planned model, by its first name.

    Heads are read together with their target, in the tests of the command lines. Models with an encoder need
    torchvision, which the environment leaves out.
    """
    text = resources.files("specdecode.engine").joinpath("data/models.json").read_text(encoding="utf-8")
    known = catalogue()
    entries = {entry["names"][0]: entry["config"] for entry in json.loads(text)["models"]}
    return {name: config for name, config in entries.items() if name in known and is_asked(known[name])}


def is_asked(facts: ModelFacts) -> bool:
    return not facts.is_head and not facts.is_multimodal


def as_vllm_has_it(facts: ModelFacts) -> dict[str, Any]:
    """Our facts in vLLM's terms: for MLA the width of a head is that of the latent, which is what a token takes."""
    head_dim = facts.head_dim if facts.kv_lora_rank is None else facts.kv_lora_rank + (facts.qk_rope_head_dim or 0)
    return {
        "num_hidden_layers": facts.num_hidden_layers,
        "num_key_value_heads": facts.num_key_value_heads,
        "head_dim": head_dim,
        "hidden_size": facts.hidden_size,
        "vocab_size": facts.vocab_size,
        "is_mla": facts.kv_lora_rank is not None,
        "quantization": QUANTIZATION_SPELLINGS.get(facts.quantization or "", facts.quantization),
        "max_position_embeddings": facts.max_position_embeddings,
    }


def test_there_are_models() -> None:
    assert len(configs()) > 50


@pytest.mark.parametrize("name", configs())
def test_vllm_reads_the_same_out_of_a_config(name: str, reference: Asked, models: Path) -> None:
    answer = reference.read_model(make_model(models, configs()[name]))
    assert isinstance(answer, Accepted), answer
    assert answer.understood == as_vllm_has_it(catalogue()[name])
