"""What a rehearsal tells the operator of the real engine's models and machine, without starting any of it."""

import json
import os
from pathlib import Path

from rehearsal.engines import SIMULATED
from rehearsal.vllm.real import facts, node_memory_mib, prompts
from specdecode.api.facts import ModelFactsSpec

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 6,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 1024,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}


def test_facts_are_the_numbers_of_the_checkpoint_s_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    spec = ModelFactsSpec.model_validate(facts(tmp_path, 4_066_560))
    assert (spec.architecture, spec.parameters) == ("LlamaForCausalLM", 4_066_560)
    assert (spec.num_hidden_layers, spec.num_key_value_heads, spec.head_dim) == (6, 2, 64)


def test_prompts_differ() -> None:
    assert len(set(prompts())) == len(prompts()) > 100


def test_the_node_s_memory_is_no_more_than_the_machine_s() -> None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024**2
    assert 0 < node_memory_mib() <= pages


def test_the_simulated_engine_needs_no_claim() -> None:
    assert SIMULATED.claim_name == ""
