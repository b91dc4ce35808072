"""Makes a tiny target and draft with a chosen agreement. Run by the engine environment's Python, never imported here.

    python tiny_models.py FOLDER --difference 0.05 --sharpness 12

The draft is a one-layer Llama with random weights; the target is that same layer followed by further random layers
whose output is scaled by `--difference`. At 0 both models are equal and nearly every draft token is accepted; the
larger it is, the less they agree. A less sharp lm_head raises the entropy, so acceptance falls faster as the sampling
temperature rises: at the defaults the first draft token is accepted with 0.64 at temperature 0, and with 0.35 at 1.

Prints one JSON object: how many parameters each model has.
"""

import argparse
import json
import sysconfig
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 1024
TARGET_LAYERS = 6


def _tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer trained on Python's own library: text that every machine has."""
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    text = [(stdlib / name).read_text() for name in ("argparse.py", "ast.py", "asyncio/tasks.py")]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(text, trainer)
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, **special)
    fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    return fast


def _config(layers: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
    )


def _pair(difference: float, sharpness: float) -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
    torch.manual_seed(1)
    draft = LlamaForCausalLM(_config(1))
    draft.lm_head.weight.data.mul_(sharpness)
    torch.manual_seed(2)
    target = LlamaForCausalLM(_config(TARGET_LAYERS))
    state = target.state_dict()
    state.update({name: value.clone() for name, value in draft.state_dict().items()})
    for name in state:
        is_further = any(f"layers.{layer}." in name for layer in range(1, TARGET_LAYERS))
        if is_further and ("o_proj" in name or "down_proj" in name):
            state[name] = state[name] * difference
    target.load_state_dict(state)
    return target.to(torch.bfloat16), draft.to(torch.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--difference", type=float, default=0.05)
    parser.add_argument("--sharpness", type=float, default=12.0)
    arguments = parser.parse_args()
    target, draft = _pair(arguments.difference, arguments.sharpness)
    words = _tokenizer()
    for name, model in (("target", target), ("draft", draft)):
        model.save_pretrained(arguments.folder / name)
        words.save_pretrained(arguments.folder / name)
    counts = {"target": target.num_parameters(), "draft": draft.num_parameters()}
    print(json.dumps({name: {"parameters": count} for name, count in counts.items()}))


if __name__ == "__main__":
    main()
