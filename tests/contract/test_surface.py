"""What the installed releases have, against what the operator lists of them: arguments, keys, metrics, labels.

When another release is installed, this is the one place that says what changed; everything else in this folder says
what it breaks.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from contract.pages import Page
from contract.releases import ARGUMENTS, CACHE, KEYS, METRICS, Definitions, argument, installed, known
from contract.surface import Section, Surface, report

from rehearsal.engine.arguments import VERSION, listed_arguments
from rehearsal.engine.speculation import SpeculativeConfig
from rehearsal.vllm.ask import Asked
from specdecode.engine.parser import speculative_keys
from specdecode.engine.version import EngineVersion

FLAGS = Path(__file__).parents[1] / "data/engine/flags"


def rendered() -> frozenset[str]:
    """Every argument that the golden command lines hold."""
    lines = "\n".join(path.read_text() for path in FLAGS.glob("*.txt"))
    return frozenset(re.findall(r"^\s*--([a-z-]+)", lines, re.MULTILINE))


def test_arguments_that_are_rendered_are_found() -> None:
    assert {"model", "max-model-len", "kv-cache-memory-bytes", "speculative-config"} <= rendered()


# --- the report can be read, and is empty only when nothing changed ---

BEFORE = Surface(
    "1.0.0",
    {
        ARGUMENTS: Section(
            {"model": "takes a value", "dtype": "one of auto, half, float", "swap-space": "takes a value"},
            frozenset({"model", "dtype"}),
            "arguments.json",
        ),
        KEYS: Section({"method": "a key", "disable_logprobs": "a key"}, where="arguments.json"),
        METRICS: Section(
            {
                "vllm:generation_tokens_total": "counter",
                "vllm:gpu_cache_usage_perc": "gauge",
                "vllm:ttft_seconds": "histogram, edges 0.1 0.2 0.5",
            },
            frozenset({"vllm:gpu_cache_usage_perc", "vllm:ttft_seconds"}),
            "metrics.py",
        ),
        CACHE: Section({"block_size": "a label"}, where="metrics.json"),
    },
)
AFTER = Surface(
    "1.1.0",
    {
        ARGUMENTS: Section(
            {"model": "a switch", "dtype": "one of auto, float, fp8", "swap-spaces": "takes a value", "new": "a switch"}
        ),
        KEYS: Section({"method": "a key"}),
        METRICS: Section(
            {
                "vllm:generation_tokens_total": "counter",
                "vllm:kv_cache_usage_perc": "gauge",
                "vllm:ttft_seconds": "histogram, edges 0.1 0.25 0.5",
            }
        ),
        CACHE: Section({"block_size": "a label"}),
    },
)


def test_the_report_says_in_words_what_changed() -> None:
    assert report(BEFORE, AFTER) == (
        "vLLM 1.1.0 is not what the operator knows as vLLM 1.0.0:\n"
        "arguments (known from arguments.json)\n"
        "  renamed  swap-space -> swap-spaces\n"
        "  changed  dtype (USED BY THE OPERATOR): no longer half; now fp8\n"
        "  changed  model (USED BY THE OPERATOR): takes a value -> a switch\n"
        "  added    new: a switch\n"
        "keys of --speculative-config (known from arguments.json)\n"
        "  removed  disable_logprobs: a key\n"
        "metrics (known from metrics.py)\n"
        "  renamed  vllm:gpu_cache_usage_perc -> vllm:kv_cache_usage_perc (USED BY THE OPERATOR)\n"
        "  changed  vllm:ttft_seconds (USED BY THE OPERATOR): no longer 0.2; now 0.25"
    )


def test_nothing_changed() -> None:
    assert report(BEFORE, BEFORE) == ""


# --- the simulated engine ---


def simulated_arguments() -> Iterator[tuple[str, str]]:
    """Its command line, in the words of a surface."""
    for entry in listed_arguments().values():
        for flag in entry["flags"]:
            if flag.startswith("--"):
                name = flag.removeprefix("--")
                yield name, argument(name, is_switch=entry["kind"] == "switch", choices=entry.get("choices", ()))


def test_the_simulated_engine_takes_the_same_command_line() -> None:
    """`None` beside the choices means only that an argument may be left out."""
    theirs = {
        name: text.replace("None, ", "")
        for name, text in known(VERSION, frozenset()).sections[ARGUMENTS].things.items()
    }
    assert dict(simulated_arguments()) == theirs
    assert set(SpeculativeConfig.__dataclass_fields__) == speculative_keys(EngineVersion.parse(VERSION))


# --- the installed releases ---


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_a_release_has_what_the_operator_knows_of_it(engine: Asked, declared: Mapping[str, Definitions]) -> None:
    page = declared[engine.release].pages["draft"]
    said = report(known(engine.release, rendered()), installed(engine, page))
    if said:
        pytest.fail(said, pytrace=False)


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_without_speculation_a_release_has_no_series_of_it(engine: Asked, declared: Mapping[str, Definitions]) -> None:
    """Absent, not 0: the operator reads a 0 as drafts of which nothing is accepted."""

    def speculative(page: Page) -> set[str]:
        return {name for name in page.families if "spec_decode" in name}

    pages = declared[engine.release].pages
    assert not speculative(pages["off"])
    assert speculative(pages["ngram"]) == speculative(pages["draft"]) != set()
