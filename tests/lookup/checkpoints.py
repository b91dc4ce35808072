"""Tiny checkpoints for the tests of the look-ups: a config.json and safetensors files with true headers."""

import json
from collections.abc import Mapping

CONFIG: dict[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
}
EMBEDDING = 1000 * 64
LAYER = 500
PARAMETERS = 2 * EMBEDDING + 2 * LAYER
SHAPES = {
    "model.embed_tokens.weight": [1000, 64],
    "lm_head.weight": [1000, 64],
    "model.layers.0.mlp.up_proj.weight": [LAYER],
    "model.layers.1.mlp.up_proj.weight": [LAYER],
}


def safetensors(shapes: Mapping[str, list[int]] = SHAPES, *, padding: int = 0, body: bool = True) -> bytes:
    """A file of 16-bit tensors; `padding` lengthens its header, `body=False` leaves the tensors out."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps({"__metadata__": {"pad": "x" * padding}, **header}).encode()
    return len(text).to_bytes(8, "little") + text + (bytes(offset) if body else b"")


def one_file() -> dict[str, bytes]:
    """A checkpoint in one file."""
    return {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": safetensors()}


def two_files() -> dict[str, bytes]:
    """A checkpoint in two files and their index."""
    names = list(SHAPES)
    parts = {"model-00001-of-00002.safetensors": names[:2], "model-00002-of-00002.safetensors": names[2:]}
    weight_map = {name: file for file, held in parts.items() for name in held}
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors.index.json": json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode(),
        **{file: safetensors({name: SHAPES[name] for name in held}) for file, held in parts.items()},
    }
