"""Answers whether vLLM accepts a command line. Run by the engine environment's Python, never imported here.

One JSON object a line in, one a line out, in order; vLLM is imported once. Questions:

    {"question": "listing"}                      every argument of the parser: name -> {"switch", "choices"},
                                                 and the keys that --speculative-config may hold
    {"question": "parse", "arguments": [...]}    the parser, and the keys and types of --speculative-config
    {"question": "configure", "arguments": [...]}    as `parse`, then every config class of the engine
    {"question": "model", "folder": "..."}       what vLLM reads out of the config.json in a folder
"""

import argparse
import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, TextIO

from pydantic import TypeAdapter
from vllm.config import ModelConfig, SpeculativeConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.utils.argparse_utils import FlexibleArgumentParser

_PARSER_MODULES = ("vllm.entrypoints.common.cli_args", "vllm.entrypoints.launchers.cli_args")
"""Where the server's parser lives: since 0.33, and before."""
_LONGEST_PROBLEM = 2_000

Answer = dict[str, Any]


class RefusedError(Exception):
    """The parser refuses; instead of ending the process."""


def _refuse(message: str) -> NoReturn:
    raise RefusedError(message)


def _server_module() -> Any:
    for name in _PARSER_MODULES:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise RuntimeError(f"this release keeps its parser in none of {', '.join(_PARSER_MODULES)}")


class Parser:
    """The parser of the server, made as its own entry point makes it."""

    def __init__(self) -> None:
        module = _server_module()
        self._parser = module.make_arg_parser(FlexibleArgumentParser())
        self._parser.error = _refuse
        self._validate: Callable[[argparse.Namespace], None] = module.validate_parsed_serve_args

    def listing(self) -> Answer:
        # Not the actions' own names: 0.33 leaves the `--no-…` forms out of them and takes them all the same.
        registered = self._parser._option_string_actions  # noqa: SLF001 - argparse has no public way to list arguments
        return {
            option.removeprefix("--"): {
                "switch": action.nargs == 0,
                "choices": sorted(str(choice) for choice in action.choices or ()),
            }
            for option, action in registered.items()
            if option.startswith("--")
        }

    def parse(self, arguments: list[str]) -> argparse.Namespace:
        """What the server would go on with; raises whatever vLLM raises."""
        parsed: argparse.Namespace = self._parser.parse_args(arguments)
        self._validate(parsed)
        if parsed.speculative_config is not None:
            _check_keys(parsed.speculative_config)
        return parsed


def _speculative_keys() -> set[str]:
    return {field.name for field in dataclasses.fields(SpeculativeConfig) if field.init}


def _check_keys(speculation: dict[str, object]) -> None:
    """Each key by itself, with its type and bounds: the whole is built only where the models are at hand."""
    fields = SpeculativeConfig.__pydantic_fields__
    taken = _speculative_keys()
    for key, value in speculation.items():
        if key not in taken:
            _refuse(f"SpeculativeConfig: {key}: Unexpected keyword argument")
        bounds = fields[key].metadata
        kind: Any = Annotated[(fields[key].annotation, *bounds)] if bounds else fields[key].annotation
        TypeAdapter(kind).validate_python(value)


def _understood(config: Any) -> Answer:
    """What the engine made of it, by vLLM's own names."""
    speculation = config.speculative_config
    draft = None if speculation is None else speculation.draft_model_config
    return {
        "quantization": config.model_config.quantization,
        "tensor_parallel_size": config.parallel_config.tensor_parallel_size,
        "max_model_len": config.model_config.max_model_len,
        "max_num_seqs": config.scheduler_config.max_num_seqs,
        "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
        "enable_chunked_prefill": config.scheduler_config.enable_chunked_prefill,
        "gpu_memory_utilization": config.cache_config.gpu_memory_utilization,
        "kv_cache_memory_bytes": config.cache_config.kv_cache_memory_bytes,
        "kv_cache_dtype": config.cache_config.cache_dtype,
        "draft_kv_cache_dtype": None if speculation is None else speculation.kv_cache_dtype,
        "method": None if speculation is None else speculation.method,
        "num_speculative_tokens": None if speculation is None else speculation.num_speculative_tokens,
        "draft_quantization": None if draft is None else draft.quantization,
    }


def _read(folder: str) -> Answer:
    """The dimensions that decide the KV cache, named as in config.json."""
    model = ModelConfig(model=folder, skip_tokenizer_init=True)
    return {
        "num_hidden_layers": model.get_total_num_hidden_layers(),
        "num_key_value_heads": model.get_total_num_kv_heads(),
        "head_dim": model.get_head_size(),
        "hidden_size": model.get_hidden_size(),
        "vocab_size": model.get_vocab_size(),
        "is_mla": bool(model.use_mla),
        "quantization": model.quantization,
        "max_position_embeddings": model.max_model_len,
    }


def _answer(parser: Parser, question: Answer) -> Answer:
    match question["question"]:
        case "listing":
            return {"listing": parser.listing(), "speculative_keys": sorted(_speculative_keys())}
        case "parse":
            parser.parse(question["arguments"])
            return {"accepted": True}
        case "configure":
            arguments = AsyncEngineArgs.from_cli_args(parser.parse(question["arguments"]))
            return {"accepted": True, "understood": _understood(arguments.create_engine_config())}
        case "model":
            return {"accepted": True, "understood": _read(question["folder"])}
        case other:
            raise ValueError(f"unknown question {other}")


def _replies() -> TextIO:
    """Standard output for answers alone: whatever vLLM prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return replies


def main() -> None:
    replies = _replies()
    parser = Parser()
    for line in sys.stdin:
        try:
            answer = _answer(parser, json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever vLLM raises is the answer
            answer = {"accepted": False, "problem": f"{type(error).__name__}: {error}"[:_LONGEST_PROBLEM]}
        print(json.dumps(answer), file=replies)


if __name__ == "__main__":
    main()
