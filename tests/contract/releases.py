"""The surface of a release twice: as the operator lists it, and as the installed engine shows it."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.pages import Page
from contract.surface import Section, Surface

from rehearsal.engine.arguments import parse_arguments
from rehearsal.engine.metrics import EngineMetrics
from rehearsal.vllm.ask import Asked, offline
from rehearsal.vllm.environment import Engine
from specdecode.engine.metrics import metric_names
from specdecode.engine.parser import Takes, known_arguments, speculative_keys
from specdecode.engine.version import EngineVersion, nearest_known

ARGUMENTS, KEYS, METRICS, CACHE = (
    "arguments",
    "keys of --speculative-config",
    "metrics",
    "labels of vllm:cache_config_info",
)
_NOT_OURS = {"help"}
"""Ends the process."""
_BY_PLATFORM = {"mm-processor-device"}
"""Choices that the parser takes from the machine it runs on: without a GPU it has no `cuda`."""
_SET_BY_VLLM = {"target_model_config", "target_parallel_config", "draft_model_config", "draft_parallel_config"}
"""Objects of vLLM's own that no command line can hold."""
_DEFINITIONS = Path(__file__).with_name("definitions.py")
_SECONDS = 200.0
"""Measured: 8 s with a warm cache, 30 s the first time."""
_SPECULATING = '--speculative-config={"method":"draft_model","model":"d","num_speculative_tokens":3}'
_ADDED_LABELS = ((EngineVersion(0, 33, 0), "simple_cpu_offload_num_blocks"),)
"""Of the cache, since the release that the simulated engine stands for."""
_READ_LABELS = frozenset({"block_size", "num_gpu_blocks"})


@dataclass(frozen=True)
class Definitions:
    """What a release declares and says without being run; see `definitions`."""

    pages: Mapping[str, Page]
    words: Mapping[str, str]


def definitions(engine: Engine, folder: Path, pages: Mapping[str, Sequence[str]]) -> Definitions:
    """Ask a release for its /metrics under some command lines."""
    questions = folder / "questions.json"
    questions.write_text(json.dumps({"pages": {name: list(arguments) for name, arguments in pages.items()}}))
    done = subprocess.run(
        [engine.python, "-P", _DEFINITIONS, questions],
        env=offline(engine, folder) | {"VLLM_LOGGING_LEVEL": "ERROR"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"vLLM {engine.release} does not declare its metrics:\n{done.stderr[-3_000:]}"
    answer = json.loads(done.stdout)
    return Definitions({name: Page(text) for name, text in answer["pages"].items()}, answer["words"])


def argument(name: str, *, is_switch: bool, choices: Sequence[str]) -> str:
    """The shape of an argument in words."""
    if is_switch:
        return "a switch"
    listed = () if name in _BY_PLATFORM else sorted(choices)
    return f"one of {', '.join(listed)}" if listed else "takes a value"


def _metrics(page: Page) -> dict[str, str]:
    """Families with their shapes; the labels of the cache are a section of their own."""
    return {
        name: "gauge" if name == "vllm:cache_config_info" else str(family) for name, family in page.families.items()
    }


def _cache_labels(page: Page) -> dict[str, str]:
    return dict.fromkeys(page.families["vllm:cache_config_info"].labels, "a label")


def known(release: str, rendered: frozenset[str]) -> Surface:
    """What the operator's own lists say of a release, and the simulated engine of its metrics."""
    version = nearest_known(EngineVersion.parse(release))
    arguments = parse_arguments(["--model=m", "--max-model-len=512", _SPECULATING])
    page = Page(EngineMetrics(arguments, kv_cache_tokens=1024, created=0).exposition().decode())
    read = frozenset(name for name in vars(metric_names(version)).values() if name)
    taken = {
        name: argument(name, is_switch=known.takes is Takes.NONE, choices=known.choices)
        for name, known in known_arguments(version).items()
    }
    added = {label: "a label" for since, label in _ADDED_LABELS if version >= since}
    lists = "specdecode/engine/data/vllm-arguments.json"
    shown = "rehearsal/engine/vllm-0.32.0-metrics.json"
    return Surface(
        str(version),
        {
            ARGUMENTS: Section(taken, rendered, lists),
            KEYS: Section(dict.fromkeys(speculative_keys(version), "a key"), where=lists),
            METRICS: Section(_metrics(page), read, f"{shown}; what is read: specdecode/engine/metrics.py"),
            CACHE: Section(_cache_labels(page) | added, _READ_LABELS, f"{shown} and tests/contract/releases.py"),
        },
    )


def installed(asked: Asked, page: Page) -> Surface:
    """What the release itself says."""
    taken = {
        name: argument(name, is_switch=entry.is_switch, choices=entry.choices)
        for name, entry in asked.listing().items()
        if name not in _NOT_OURS
    }
    return Surface(
        asked.release,
        {
            ARGUMENTS: Section(taken),
            KEYS: Section(dict.fromkeys(asked.speculative_keys() - _SET_BY_VLLM, "a key")),
            METRICS: Section(_metrics(page)),
            CACHE: Section(_cache_labels(page)),
        },
    )
