"""How many tokens the simulated engine keeps: the bytes that its command line leaves, over what one token takes.

The bytes are `--kv-cache-memory-bytes` where it is given. Otherwise they are what one H100 has left of
`--gpu-memory-utilization` after the weights and a fixed rest, so that the operator's own plan, which counts more
finely, is a little wrong and has something to correct. A model that the operator's catalogue does not know is taken for
Llama-3.1-8B, a draft for one layer of the target.
"""

from dataclasses import replace

from rehearsal.engine.arguments import EngineArguments
from specdecode.engine.models import BYTES_16_BIT, ModelFacts, catalogue

BLOCK_SIZE = 16

_GIB = 1024**3
_CARD_BYTES = int(79.18 * _GIB)
"""What CUDA reports of an H100 with 80 GB."""
_REST_BYTES = 4 * _GIB
"""Activations, graphs, communication, and what never was free."""
_DEFAULT_MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def _models(arguments: EngineArguments) -> tuple[tuple[ModelFacts, str | None], ...]:
    """Target and draft, and how each is quantised at load."""
    known = catalogue()
    target = known.get(arguments.model, known[_DEFAULT_MODEL])
    loaded = ((target, arguments.quantization),)
    if arguments.speculation is None or arguments.speculation.model is None:
        return loaded
    layer = replace(target, num_hidden_layers=1, parameters=0, weight_bytes=0)
    return (*loaded, (known.get(arguments.speculation.model, layer), arguments.speculation.quantization))


def _weight_bytes(facts: ModelFacts, quantization: str | None) -> int:
    if quantization is None and facts.weight_bytes is not None:
        return facts.weight_bytes
    bits = facts.weight_bits if quantization is None else 8
    return facts.embedding_parameters * BYTES_16_BIT + int(facts.linear_parameters * bits / 8)


def _bytes_per_token(facts: ModelFacts, arguments: EngineArguments) -> int:
    """On one GPU. Layers with a window count as if they kept every token."""
    element_bytes = 1 if arguments.kv_cache_dtype.startswith("fp8") else BYTES_16_BIT
    if facts.kv_lora_rank is not None:
        return facts.num_hidden_layers * (facts.kv_lora_rank + (facts.qk_rope_head_dim or 0)) * element_bytes
    heads = max(1, facts.num_key_value_heads // arguments.tensor_parallel_size)
    return facts.num_hidden_layers * heads * 2 * facts.head_dim * element_bytes


def _cache_bytes(arguments: EngineArguments) -> int:
    if arguments.kv_cache_memory_bytes is not None:
        return arguments.kv_cache_memory_bytes
    weights = sum(_weight_bytes(facts, quantization) for facts, quantization in _models(arguments))
    budget = int(_CARD_BYTES * arguments.gpu_memory_utilization)
    return budget - weights // arguments.tensor_parallel_size - _REST_BYTES


def kv_cache_tokens(arguments: EngineArguments) -> int:
    """Tokens in whole blocks; at least one request of `--max-model-len`, without which vLLM would not start."""
    per_block = BLOCK_SIZE * sum(_bytes_per_token(facts, arguments) for facts, _ in _models(arguments))
    one_request = -(-arguments.max_model_len // BLOCK_SIZE)
    return max(_cache_bytes(arguments) // per_block, one_request) * BLOCK_SIZE
