"""Which architectures are refused by name; what an unknown name is allowed."""

import pytest

from specdecode.engine.checkpoint.architectures import BY_CLASS, class_problem, class_reason


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ("Qwen3NextForCausalLM", "recurrent state"),
        ("Qwen3_5ForConditionalGeneration", "recurrent state"),
        ("Qwen3_5MoeForCausalLM", "recurrent state"),
        ("MambaForCausalLM", "recurrent state"),
        ("Mamba2ForCausalLM", "recurrent state"),
        ("JambaForCausalLM", "recurrent state"),
        ("BambaForCausalLM", "recurrent state"),
        ("NemotronHForCausalLM", "recurrent state"),
        ("NemotronH_Nano_VL_V2", "recurrent state"),
        ("KimiLinearForCausalLM", "recurrent state"),
        ("GraniteMoeHybridForCausalLM", "recurrent state"),
        ("FalconH1ForCausalLM", "recurrent state"),
        ("Zamba2ForCausalLM", "recurrent state"),
        ("DeepseekV32ForCausalLM", "an indexer"),
        ("DeepseekV4ForCausalLM", "an indexer"),
        ("GlmMoeDsaForCausalLM", "an indexer"),
        ("Llama4ForConditionalGeneration", "within chunks"),
        ("T5ForConditionalGeneration", "encoder-decoder"),
        ("WhisperForConditionalGeneration", "encoder-decoder"),
        ("BertModel", "generates no tokens"),
        ("XLMRobertaForSequenceClassification", "generates no tokens"),
        ("Gemma3nForConditionalGeneration", "shares the cache"),
    ],
)
def test_what_keeps_something_else_is_refused(architecture: str, says: str) -> None:
    problem = class_problem("spec.model.facts.architecture", architecture, architecture)
    assert problem is not None
    assert says in problem.message
    assert "choose a model whose layers all keep keys and values" in problem.message


@pytest.mark.parametrize("architecture", [*BY_CLASS, "OwnForCausalLM", "NemotronForCausalLM", "Bartholomew"])
def test_what_keeps_keys_and_values_or_is_unknown_is_not(architecture: str) -> None:
    assert class_reason(architecture) is None
