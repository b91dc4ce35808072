"""How a `quantization_config` says what the weights take."""

import pytest

from specdecode.engine.checkpoint.stored import Part, stored_as, with_modelopt


def compressed(**weights: object) -> dict[str, object]:
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}


@pytest.mark.parametrize(
    ("config", "method", "bits"),
    [
        pytest.param(None, None, 16, id="nothing: 16 bit"),
        pytest.param({}, None, 16, id="an empty one: 16 bit"),
        pytest.param({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", 4.15625, id="AWQ"),
        pytest.param({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, "awq", 4.3125, id="AWQ's older keys"),
        pytest.param({"quant_method": "gptq", "bits": 8, "group_size": 128}, "gptq", 8.1875, id="GPTQ in 8 bit"),
        pytest.param({"quant_method": "gptq", "bits": 4, "group_size": -1}, "gptq", 4, id="GPTQ without groups"),
        pytest.param({"quant_method": "fp8"}, "fp8", 8, id="FP8, one scale for a tensor"),
        pytest.param(
            {"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 8 + 32 / 16384, id="FP8 in blocks"
        ),
        pytest.param({"quant_method": "fp8", "weight_block_size": ["a"]}, "fp8", 8, id="FP8 with nonsense for blocks"),
        pytest.param({"quant_method": "mxfp4"}, "mxfp4", 4.25, id="MXFP4"),
        pytest.param({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes", 4.5, id="bitsandbytes"),
        pytest.param(
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True},
            "bitsandbytes",
            4 + 8 / 64 + 32 / 16_384,
            id="with scales that are quantised as well",
        ),
        pytest.param({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes", 8, id="the same in 8 bit"),
        pytest.param({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "modelopt_fp4", 4.5, id="ModelOpt in 4 bit"),
        pytest.param({"quant_method": "modelopt", "quant_algo": "FP8"}, "modelopt", 8, id="ModelOpt in 8 bit"),
        pytest.param({"quant_method": "fbgemm_fp8"}, "fbgemm_fp8", 8, id="a method that is only known by its name"),
        pytest.param({"quant_method": "own"}, "own", 16, id="an unknown method is counted in 16 bit"),
        pytest.param({"bits": 4}, "unknown", 16, id="no method at all"),
        pytest.param(compressed(num_bits=8, strategy="channel"), "compressed-tensors", 8, id="8 bit"),
        pytest.param(
            compressed(num_bits=4, type="int", strategy="group", group_size=128, symmetric=True),
            "compressed-tensors",
            4.125,
            id="4 bit in groups",
        ),
        pytest.param(
            compressed(num_bits=4, type="int", strategy="group", group_size=128, symmetric=False),
            "compressed-tensors",
            4.15625,
            id="4 bit in groups with zero points",
        ),
        pytest.param(
            compressed(num_bits=4, type="float", strategy="tensor_group", group_size=16),
            "compressed-tensors",
            4.5,
            id="NVFP4",
        ),
        pytest.param({"quant_method": "compressed-tensors"}, "compressed-tensors", 8, id="no groups: the widest"),
        pytest.param(
            {"quant_method": "compressed-tensors", "config_groups": {"a": 1, "b": {"weights": {"num_bits": True}}}},
            "compressed-tensors",
            8,
            id="nonsense in the groups",
        ),
    ],
)
def test_method_and_bits(config: dict[str, object] | None, method: str | None, bits: float) -> None:
    stored = stored_as(config, layers=4)
    assert (stored.quantization, stored.bits, stored.plain) == (method, bits, frozenset())


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        pytest.param(["lm_head"], set(), id="lm_head always is"),
        pytest.param(["model.layers.*.self_attn", "lm_head"], {Part.ATTENTION}, id="attention by a pattern"),
        pytest.param(
            ["re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"],
            {Part.ATTENTION, Part.SHARED_EXPERTS, Part.MLP},
            id="all but the routed experts",
        ),
        pytest.param([f"model.layers.{n}.self_attn.q_proj" for n in range(4)], {Part.ATTENTION}, id="layer by layer"),
        pytest.param(["model.layers.0.self_attn.q_proj"], set(), id="one layer of four does not count"),
        pytest.param(["model.layers.0.mlp.gate", r"re:.*mlp\.gate$"], set(), id="routers always are"),
        pytest.param(["model.layers.*.mlp.router", "model.layers.0.mlp.experts"], set(), id="nor experts"),
        pytest.param(["model.layers.*.mlp.shared_expert_gate"], set(), id="the gate of the shared expert"),
        pytest.param(["visual.blocks.0.attn.qkv", "re:vision_tower.*self_attn"], set(), id="an encoder's attention"),
        pytest.param([7, None], set(), id="no names"),
    ],
)
def test_what_stays_in_16_bit(names: list[object], parts: set[Part]) -> None:
    config = {"quant_method": "fp8", "modules_to_not_convert": names}
    assert stored_as(config, layers=4).plain == parts


def test_model_opt_writes_into_a_file_of_its_own() -> None:
    document = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    config = with_modelopt({"model_type": "llama"}, document)
    assert config["quantization_config"] == {
        "quant_method": "modelopt",
        "quant_algo": "FP8",
        "exclude_modules": ["lm_head"],
    }


@pytest.mark.parametrize("document", [None, {}, {"quantization": "FP8"}])
def test_without_one_nothing_changes(document: dict[str, object] | None) -> None:
    assert with_modelopt({"model_type": "llama"}, document) == {"model_type": "llama"}


def test_what_config_json_says_comes_first() -> None:
    config = {"quantization_config": {"quant_method": "awq"}}
    assert with_modelopt(config, {"quantization": {"quant_algo": "FP8"}}) == config
