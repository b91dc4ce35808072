"""Headers of safetensors files: what they add up to, and the broken ones."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.api.resource import Problem
from specdecode.engine.checkpoint.safetensors import (
    CheckpointWeights,
    Tensors,
    add_up,
    files_of_index,
    header_length,
    part_of,
    read_header,
)


def header(tensors: Mapping[str, object]) -> bytes:
    return json.dumps(tensors).encode()


def tensor(dtype: str, shape: list[int], size: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [100, 100 + size]}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.embed_tokens.weight", "embed_tokens"),
        ("language_model.model.embed_tokens.weight", "embed_tokens"),
        ("transformer.wte.weight", "embed_tokens"),
        ("lm_head.weight", "lm_head"),
        ("lm_head.weight_scale", "lm_head"),
        ("model.layers.12.self_attn.o_proj.weight", "layer 12"),
        ("language_model.model.layers.0.mlp.gate.weight", "layer 0"),
        ("transformer.h.3.attn.c_attn.weight", "layer 3"),
        ("model.layers.61.eh_proj.weight", "layer 61"),
        ("model.norm.weight", "rest"),
        ("mtp.layers.0.input_layernorm.weight", "mtp"),
        ("mtp_block.weight", "mtp"),
        ("model.visual.blocks.3.attn.qkv.weight", "encoder"),
        ("visual.patch_embed.proj.weight", "encoder"),
        ("vision_tower.vision_model.encoder.layers.3.mlp.fc1.weight", "encoder"),
        ("multi_modal_projector.mm_input_projection_weight", "encoder"),
        ("model.vision_embed_tokens.weight", "encoder"),
        ("audio_tower.layers.1.fc1.weight", "encoder"),
        ("model.image_newline", "encoder"),
        ("fc.weight", "fc"),
        ("model.fc.weight", "fc"),
        ("d2t", "buffers"),
        ("t2d", "buffers"),
        ("model.layers.3.self_attn.rotary_emb.inv_freq", "buffers"),
        ("model.layers.3.self_attn.k_scale", "buffers"),
        ("midlayer.mlp.up_proj.weight", "rest"),
    ],
)
def test_a_name_tells_the_part(name: str, part: str) -> None:
    assert part_of(name) == part


def test_parts_and_types_are_added_up_over_files() -> None:
    first = read_header(
        header(
            {
                "__metadata__": {"format": "pt"},
                "model.embed_tokens.weight": tensor("BF16", [10, 4], 80),
                "model.layers.0.mlp.up_proj.weight": tensor("F8_E4M3", [4, 8], 32),
            }
        ),
        "a.safetensors",
    )
    second = read_header(
        header({"model.layers.0.mlp.down_proj.weight": tensor("F8_E4M3", [8, 4], 32)}), "b.safetensors"
    )
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    weights = add_up((*first, *second))
    assert weights.tensors == (Tensors("embed_tokens", "BF16", 40, 80), Tensors("layer 0", "F8_E4M3", 64, 64))
    assert (weights.total_bytes, weights.parameters) == (144, 104)
    assert weights.bytes_by_dtype == {"BF16": 80, "F8_E4M3": 64}
    assert weights.of("layer 0").total_bytes == 64
    assert weights.without({"layer 0"}).parts == {"embed_tokens"}
    assert weights.layers_from(1) == frozenset()
    assert weights.layers_from(0) == {"layer 0"}


def test_types_of_one_name_are_added_up_too() -> None:
    weights = CheckpointWeights((Tensors("a", "BF16", 1, 2), Tensors("b", "BF16", 2, 4)))
    assert weights.bytes_by_dtype == {"BF16": 6}


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [
        pytest.param("F4", [3, 4], 6, id="half a byte each"),
        pytest.param("I64", [2], 16, id="eight bytes each"),
        pytest.param("BF16", [], 2, id="a scalar"),
        pytest.param("BF16", [0, 7], 0, id="nothing"),
    ],
)
def test_sizes_of_types(dtype: str, shape: list[int], size: int) -> None:
    read = read_header(header({"x": tensor(dtype, shape, size)}), "a")
    assert isinstance(read, tuple)
    assert read[0].size_bytes == size


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(b"not json", "no JSON object", id="no JSON"),
        pytest.param(b"[1]", "no JSON object", id="a list"),
        pytest.param(b"[" * 100_000, "no JSON object", id="nested too deep to read"),
        pytest.param(header({"x": 1}), "is no object", id="a tensor that is a number"),
        pytest.param(header({"x": tensor("Q3", [1], 1)}), "type 'Q3'", id="an unknown type"),
        pytest.param(header({"x": {"dtype": "BF16", "shape": [1]}}), "no shape or no offsets", id="no offsets"),
        pytest.param(header({"x": tensor("BF16", [-1], 1)}), "no shape or no offsets", id="a negative dimension"),
        pytest.param(
            header({"x": {"dtype": "BF16", "shape": [True], "data_offsets": [0, 2]}}), "no shape", id="a switch"
        ),
        pytest.param(
            header({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2, 4]}}), "no shape", id="three offsets"
        ),
        pytest.param(
            header({"x": tensor("BF16", [4], 4)}), "4 bytes for 4 elements of BF16", id="a size that is wrong"
        ),
    ],
)
def test_a_broken_header_names_what_is_wrong(text: bytes, says: str) -> None:
    problem = read_header(text, "model-00001.safetensors")
    assert isinstance(problem, Problem)
    assert problem.field == "model-00001.safetensors"
    assert says in problem.message


@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        pytest.param(b"", "has 0 bytes", id="an empty file"),
        pytest.param(b"1234567", "has 7 bytes", id="less than the length"),
        pytest.param(b"version https://git-lfs", "at most 100000000 bytes", id="a Git LFS pointer"),
        pytest.param((1).to_bytes(8, "little"), "at most 100000000 bytes", id="a header of one byte"),
        pytest.param((100_000_001).to_bytes(8, "little"), "at most 100000000 bytes", id="one byte too many"),
    ],
)
def test_a_length_that_cannot_be(prefix: bytes, says: str) -> None:
    problem = header_length(prefix, "x.safetensors")
    assert isinstance(problem, Problem)
    assert says in problem.message


def test_the_longest_header() -> None:
    assert header_length((100_000_000).to_bytes(8, "little") + b"more", "x") == 100_000_000


def test_the_files_of_an_index_come_once_and_in_order() -> None:
    index = {"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}
    assert files_of_index(json.dumps(index).encode(), "index") == ("model-1.safetensors", "model-2.safetensors")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(b"{", "no weight_map", id="no JSON"),
        pytest.param(b"[]", "no weight_map", id="a list"),
        pytest.param(b'{"weight_map": {}}', "no weight_map", id="no files"),
        pytest.param(b'{"weight_map": {"a": "../../etc/passwd"}}', "no file name", id="a path out of the directory"),
        pytest.param(b'{"weight_map": {"a": "https://x/a.safetensors"}}', "no file name", id="an address"),
        pytest.param(b'{"weight_map": {"a": 7}}', "no file name", id="a number"),
        pytest.param(
            json.dumps({"weight_map": {str(number): f"{number}.safetensors" for number in range(9999)}}).encode(),
            "lists 9999 files",
            id="more files than any model has",
        ),
    ],
)
def test_an_index_that_cannot_be_followed(text: bytes, says: str) -> None:
    problem = files_of_index(text, "model.safetensors.index.json")
    assert isinstance(problem, Problem)
    assert says in problem.message


@given(st.binary(max_size=300))
def test_any_bytes_give_an_answer(text: bytes) -> None:
    assert isinstance(read_header(text, "x"), tuple | Problem)
    assert isinstance(header_length(text, "x"), int | Problem)
    assert isinstance(files_of_index(text, "x"), tuple | Problem)


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.tuples(st.sampled_from(["BF16", "F32", "I8"]), st.lists(st.integers(0, 50), max_size=3)),
        max_size=6,
    )
)
def test_what_is_written_is_counted(tensors: dict[str, tuple[str, list[int]]]) -> None:
    width = {"BF16": 2, "F32": 4, "I8": 1}
    document, total = {}, 0
    for name, (dtype, shape) in tensors.items():
        elements = 1
        for side in shape:
            elements *= side
        document[f"t{name}"] = tensor(dtype, shape, elements * width[dtype])
        total += elements * width[dtype]
    read = read_header(header(document), "x")
    assert isinstance(read, tuple)
    assert add_up(read).total_bytes == total
