"""The command line of `vllm serve` 0.32.0, parsed as strictly as the engine does, and a little more.

The arguments, their short forms and choices are those of the release's own parser; `vllm-0.32.0-arguments.json` lists
them. Stricter than vLLM: an argument given twice is an error, dotted forms such as `--speculative-config.method` do
not exist. Nothing here decides what an argument does.
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from rehearsal.engine.behaviour import DraftKind
from rehearsal.engine.speculation import ConfigError, SpeculativeConfig, speculative_config

VERSION = "0.32.0"

_SHORTCUTS = {"spec_method": "method", "spec_model": "model", "spec_tokens": "num_speculative_tokens"}
_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class EngineArguments:
    """What the simulated engine makes use of; everything else is checked and forgotten."""

    model: str
    quantization: str | None
    served_model_name: str
    host: str
    port: int
    tensor_parallel_size: int
    max_model_len: int
    max_num_seqs: int
    gpu_memory_utilization: float
    kv_cache_dtype: str
    kv_cache_memory_bytes: int | None
    enable_prefix_caching: bool
    log_stats: bool
    seed: int
    shutdown_timeout_seconds: int
    middleware: str | None
    """Module and class around the application."""
    tells_acceptance: bool
    """Whether an answer says what it accepted of its draft tokens."""
    speculation: SpeculativeConfig | None

    @property
    def draft_kind(self) -> DraftKind:
        """What proposes tokens."""
        return self.speculation.kind if self.speculation else DraftKind.OFF


class _Once(argparse.Action):
    """Stores a value, and refuses a second one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  argparse's signature
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given: set[str] = namespace.__dict__.setdefault("given", set())
        if self.dest in given:
            raise argparse.ArgumentError(self, "given more than once")
        given.add(self.dest)
        is_switch = self.nargs == 0
        setattr(namespace, self.dest, not str(option_string).startswith("--no-") if is_switch else values)


def _human_readable_int(text: str) -> int:
    """`8192`, `8k` (8000), `8K` (8192), `1.5m`; -1 and `auto` leave the choice to the engine."""
    if text in ("-1", "auto"):
        return -1
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"Invalid integer value: {text}")
    return int(float(match[1]) * _MULTIPLES[match[2]])


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"Value {text} cannot be converted to <function loads>.") from None


_TYPES: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "human_readable_int": _human_readable_int,
    "json": _json,
    "text": str,
    "list": str,
}


@cache
def listed_arguments() -> Mapping[str, Mapping[str, Any]]:
    """Every argument: its flags, what it takes, and its choices if it has some."""
    file = resources.files("rehearsal.engine").joinpath(f"vllm-{VERSION}-arguments.json")
    listed: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return listed


def _settings(kind: str, choices: Sequence[str] | None) -> dict[str, Any]:
    """How argparse is told about one argument. An argument that is not given leaves no trace in the namespace."""
    settings: dict[str, Any] = {"action": _Once, "default": argparse.SUPPRESS}
    if kind == "switch":
        return settings | {"nargs": 0}
    if kind == "list":
        settings["nargs"] = "+"
    if choices:
        settings["choices"] = [_TYPES[kind](choice) for choice in choices]
    return settings | {"type": _TYPES[kind]}


@cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm serve", usage="vllm serve [model_tag] [options]", add_help=False)
    parser.add_argument("model_tag", nargs="?")
    for name, entry in listed_arguments().items():
        settings = _settings(entry["kind"], entry.get("choices"))
        parser.add_argument(*entry["flags"], dest=name.replace("-", "_"), **settings)
    return parser


def _speculation(given: Mapping[str, Any], tensor_parallel_size: int) -> SpeculativeConfig | None:
    keys = given.get("speculative_config", {})
    if not isinstance(keys, dict):
        raise ConfigError(f"speculative_config must be a JSON object, got {keys}")
    for shortcut, key in _SHORTCUTS.items():
        if shortcut in given:
            if key in keys:
                raise ConfigError(f"--{shortcut.replace('_', '-')} and speculative_config both set {key}")
            keys = {**keys, key: given[shortcut]}
    if not keys:
        return None
    return speculative_config(keys, tuple(listed_arguments()["spec-method"]["choices"]), tensor_parallel_size)


def _model(given: Mapping[str, Any]) -> str:
    model, tag = given.get("model"), given.get("model_tag")
    if model is not None and tag is not None:
        _parser().error("the model is named twice: as positional argument and with --model")
    return str(model or tag or "Qwen/Qwen3-0.6B")


def parse_arguments(words: Sequence[str]) -> EngineArguments:
    """Parse a command line.

    Raises:
        SystemExit: with code 2, after argparse has said on standard error what is wrong, as vLLM's parser does.
        ConfigError: every argument is known, but the engine would not start with them.
    """
    given = vars(_parser().parse_args(words))
    model = _model(given)
    tensor_parallel_size = given.get("tensor_parallel_size", 1)
    max_model_len = given.get("max_model_len", -1)
    utilization = given.get("gpu_memory_utilization", 0.92)
    if not 0 < utilization <= 1:
        raise ConfigError(f"GPU memory utilization must be less than 1.0. Got {utilization}.")
    return EngineArguments(
        model=model,
        quantization=given.get("quantization"),
        served_model_name=given.get("served_model_name", [model])[0],
        host=given.get("host", "0.0.0.0"),
        port=given.get("port", 8000),
        tensor_parallel_size=tensor_parallel_size,
        max_model_len=max_model_len if max_model_len > 0 else 131_072,
        max_num_seqs=given.get("max_num_seqs", 256),
        gpu_memory_utilization=utilization,
        kv_cache_dtype=given.get("kv_cache_dtype", "auto"),
        kv_cache_memory_bytes=given.get("kv_cache_memory_bytes"),
        enable_prefix_caching=given.get("enable_prefix_caching", True),
        log_stats=not given.get("disable_log_stats", False),
        seed=given.get("seed", 0),
        shutdown_timeout_seconds=given.get("shutdown_timeout", 0),
        middleware=given.get("middleware"),
        tells_acceptance=given.get("per_request_spec_decode_metrics", "none") != "none",
        speculation=_speculation(given, tensor_parallel_size),
    )
