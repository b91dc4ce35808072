"""What a release of vLLM would show and say, without running it. Run by the engine's Python, never imported.

    python definitions.py QUESTIONS.json        {"pages": {name: [argument, ...]}}

Prints one JSON object:

    {"pages": {name: what /metrics holds at the start of an engine with that command line},
     "words": {situation: what vLLM raises, from its own functions, fed with made-up amounts of memory}}

The metrics are declared by the engine's own logger from the engine's own config. Only sizes that a running engine would
have counted are missing.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from prometheus_client import REGISTRY, generate_latest
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.utils.mem_utils import MemorySnapshot
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.metrics.loggers import PrometheusStatLogger
from vllm.v1.worker.utils import request_memory

_CACHE_MODULES = ("vllm.v1.core.kv_cache_planning", "vllm.v1.core.kv_cache_utils")
"""Where the sizes of the cache are checked: since 0.33, and before."""
_GIB = 1024**3


def _config(arguments: list[str]) -> Any:
    parser = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser())
    return AsyncEngineArgs.from_cli_args(parser.parse_args(arguments)).create_engine_config()


def _page(config: Any) -> str:
    PrometheusStatLogger(config).log_engine_initialized()
    return str(generate_latest(REGISTRY).decode())


def _words(ask: Callable[[], object]) -> str:
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - whatever vLLM raises is the answer
        return f"{type(error).__name__}: {error}"
    return ""


def _check_cache(config: Any, available_bytes: int) -> None:
    # The engine's core chooses one before it gets here.
    config.cache_config.kv_cache_layout = "NHD"
    for name in _CACHE_MODULES:
        try:
            check = importlib.import_module(name).check_enough_kv_cache_memory
        except (ModuleNotFoundError, AttributeError):
            continue
        spec = FullAttentionSpec(block_size=16, num_kv_heads=1024, head_size=1024, dtype=torch.bfloat16)
        return check(config, {"layers.0.attention": spec}, available_bytes)
    raise RuntimeError(f"this release checks the cache in none of {', '.join(_CACHE_MODULES)}")


def _full_card(config: Any) -> None:
    total = 80 * _GIB
    found = MemorySnapshot(free_memory=total // 10, total_memory=total, device="cpu", auto_measure=False)
    request_memory(found, config.cache_config)


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    # Standard output is for the answer alone.
    os.dup2(2, 1)
    questions = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    configs = {name: _config(arguments) for name, arguments in questions["pages"].items()}
    some = next(iter(configs.values()))
    pages = {name: _page(found) for name, found in configs.items()}
    words = {
        "no cache at all": _words(lambda: _check_cache(some, -_GIB)),
        "less than one request": _words(lambda: _check_cache(some, _GIB)),
        "a full card": _words(lambda: _full_card(some)),
    }
    print(json.dumps({"pages": pages, "words": words}), file=replies)


if __name__ == "__main__":
    main()
