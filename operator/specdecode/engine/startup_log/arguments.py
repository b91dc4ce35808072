"""The lines in which vLLM prints what it was asked to do: its arguments, and the configuration it made of them.

Three forms: `non-default args: {...}` (0.10.1 and newer print a dictionary), `args: Namespace(...)` (before), and
`Initializing ... engine (v...) with config: model=..., ...`. All are `repr` texts with parts that are no literals, so
single keys are looked for instead of parsing the whole.
"""

import json
import re
from collections.abc import Mapping

from specdecode.engine.startup_log.values import LoggedSpeculation

_VALUE = (
    r"'(?P<{0}_single>[^']{{0,500}})'|\"(?P<{0}_double>[^\"]{{0,500}})\"|(?P<{0}_bare>[^\s,'\"(){{}}\[\]]{{1,200}})"
)

_KEYS = (
    "block_size",
    "device_config",
    "draft_model",
    "dtype",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_dtype",
    "kv_cache_memory_bytes",
    "max_model_len",
    "max_num_batched_tokens",
    "max_num_seqs",
    "max_seq_len",
    "method",
    "model",
    "model_tag",
    "num_spec_tokens",
    "num_speculative_tokens",
    "pipeline_parallel_size",
    "quantization",
    "revision",
    "speculative_model",
    "speculative_model_quantization",
    "tensor_parallel_size",
)

_SCANNERS = {
    # A key stands after a bracket, a comma or a blank; `quantization` must not be found in `draft_quantization`.
    key: re.compile(rf"(?<![\w.\-])['\"]?{key}['\"]?\s{{0,3}}[:=]\s{{0,3}}(?:{_VALUE.format('value')})")
    for key in _KEYS
}

_SPECULATIVE_REPR = re.compile(r"speculative_config=SpeculativeConfig\((?P<body>[^()]{0,1000})\)")
_SPECULATIVE_DICT = re.compile(r"['\"]?speculative_config['\"]?\s{0,3}[:=]\s{0,3}['\"]?(?P<body>\{)")
_MAX_SPECULATIVE_CHARACTERS = 4000

_ARGUMENTS = re.compile(r"(?:non-default args: |\bargs: Namespace\()")
_CONFIGURATION = re.compile(r"LLM engine \(v[^)\s]{1,60}\) with config: ")

_EAGLE_NAMES = re.compile(r"eagle-?(?P<three>3)?", re.IGNORECASE)


def _value(text: str, key: str) -> str | None:
    found = _SCANNERS[key].search(text)
    if found is None:
        return None
    value = next(group for group in found.groups() if group is not None)
    return None if value in {"None", "null", ""} else value


def _values(text: str) -> dict[str, str]:
    found = ((key, _value(text, key)) for key in _KEYS)
    return {key: value for key, value in found if value is not None}


def _braced(text: str, start: int) -> str:
    """The text from an opening brace to the one that closes it, or as much of it as is looked at."""
    depth = 0
    for index, character in enumerate(text[start : start + _MAX_SPECULATIVE_CHARACTERS], start=start):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[start : index + 1]
    return text[start : start + _MAX_SPECULATIVE_CHARACTERS]


def _count(values: Mapping[str, str], *keys: str) -> int | None:
    digits = next((values[key] for key in keys if key in values), "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _guessed_method(model: str | None) -> str | None:
    """What releases before 0.8.2 made of `--speculative-model`."""
    if model is None:
        return None
    if model == "[ngram]":
        return "ngram"
    eagle = _EAGLE_NAMES.search(model)
    if eagle is not None:
        return "eagle3" if eagle["three"] else "eagle"
    return next((name for name in ("medusa", "mlp_speculator") if name.split("_")[0] in model.lower()), "draft_model")


def _speculation(values: Mapping[str, str], *, is_from_arguments: bool) -> LoggedSpeculation | None:
    model = values.get("speculative_model") or values.get("draft_model") or values.get("model")
    method = values.get("method") or _guessed_method(model)
    if method is None:
        return None
    return LoggedSpeculation(
        method=method,
        model=None if model == "[ngram]" or method in {"ngram", "ngram_gpu", "suffix"} else model,
        num_speculative_tokens=_count(values, "num_speculative_tokens", "num_spec_tokens"),
        quantization=values.get("speculative_model_quantization") or values.get("quantization"),
        is_from_arguments=is_from_arguments,
    )


def _without(text: str, part: str) -> str:
    return text.replace(part, " ", 1)


def read_configuration(line: str) -> tuple[dict[str, str], LoggedSpeculation | None] | None:
    """Keys and speculation of the line with the engine's configuration; None when this is another line."""
    found = _CONFIGURATION.search(line)
    if found is None:
        return None
    text = line[found.end() :]
    speculative = _SPECULATIVE_REPR.search(text)
    if speculative is None:
        return _values(text), None
    speculation = _speculation(_values(speculative["body"]), is_from_arguments=False)
    return _values(_without(text, speculative.group())), speculation


def read_arguments(line: str) -> tuple[dict[str, str], LoggedSpeculation | None] | None:
    """Keys and speculation of the line with the arguments; None when this is another line."""
    found = _ARGUMENTS.search(line)
    if found is None:
        return None
    text = line[found.end() :]
    speculative = _SPECULATIVE_DICT.search(text)
    if speculative is None:
        values = _values(text)
        old = {key: values[key] for key in values if key.startswith("specul")}
        old |= {"num_speculative_tokens": values.get("num_speculative_tokens", "")}
        return values, _speculation(old, is_from_arguments=True)
    body = _braced(text, speculative.start("body"))
    speculation = _speculation(_speculative_values(body), is_from_arguments=True)
    return _values(_without(text, body)), speculation


def _speculative_values(body: str) -> dict[str, str]:
    """A dictionary as `repr` or, before 0.9, as the JSON text of the command line."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _values(body)
    return {key: str(value) for key, value in document.items() if isinstance(value, str | int)}
