"""Every command line of a fixed table, for every release: written down, and checked against the release's parser."""

import json
import os
from pathlib import Path

import pytest
from engine.commandlines import SPECS, refusal, rendered, spec_for

from specdecode.engine.parser import known_arguments, speculative_keys
from specdecode.engine.version import EngineVersion

DATA = Path(__file__).parent.parent / "data" / "engine" / "flags"
WRITTEN = (
    *("0.6.0", "0.6.6", "0.7.3", "0.8.1", "0.8.2", "0.8.5", "0.9.2", "0.10.0", "0.10.2", "0.11.0", "0.14.1", "0.16.0"),
    *("0.17.1", "0.20.2", "0.21.0", "0.24.0", "0.26.0", "0.28.0", "0.31.0", "0.32.0", "0.33.0"),
)
"""Releases that differ."""
READ = (
    *("0.6.0", "0.6.2", "0.6.3", "0.6.4", "0.6.5", "0.6.6", "0.7.0", "0.7.1", "0.7.2", "0.7.3", "0.8.0", "0.8.1"),
    *("0.8.2", "0.8.3", "0.8.4", "0.8.5", "0.9.0", "0.9.1", "0.9.2", "0.10.0", "0.10.1", "0.10.2", "0.11.0", "0.11.1"),
    *("0.11.2", "0.12.0", "0.13.0", "0.14.1", "0.15.1", "0.16.0", "0.17.1", "0.18.1", "0.19.1", "0.20.2", "0.21.0"),
    *("0.22.1", "0.23.0", "0.24.0", "0.25.1", "0.26.0", "0.27.1", "0.28.0", "0.29.0", "0.30.0", "0.31.0", "0.32.0"),
    "0.33.0",
)
"""Every release whose parser was read, and 0.15.1, which was not."""
parse = EngineVersion.parse


def block(version: EngineVersion, name: str) -> str:
    spec = spec_for(version, name)
    refused = refusal(version, spec)
    lines = (f"refused: {refused}",) if refused is not None else rendered(version, spec)
    return "".join([f"# {name}\n", *(f"  {line}\n" for line in lines)])


@pytest.mark.parametrize("version", WRITTEN)
def test_the_command_lines_are_as_recorded(version: str) -> None:
    text = "\n".join(block(parse(version), name) for name in SPECS)
    golden = DATA / f"{version}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("version", READ)
def test_the_parser_of_the_release_takes_every_argument(version: str, name: str) -> None:
    release = parse(version)
    spec = spec_for(release, name)
    if refusal(release, spec) is not None:
        return
    known = known_arguments(release)
    for line in rendered(release, spec):
        flag, has_value, value = line.removeprefix("--").partition("=")
        assert flag in known, flag
        assert known[flag].is_switch is not bool(has_value), flag
        assert not known[flag].choices or value in known[flag].choices, line
        if flag == "speculative-config":
            assert set(json.loads(value)) <= speculative_keys(release)


@pytest.mark.parametrize("name", [name for name in SPECS if not name.startswith("off")])
def test_every_speculation_runs_in_some_release(name: str) -> None:
    assert any(refusal(parse(version), spec_for(parse(version), name)) is None for version in READ)


@pytest.mark.parametrize("version", READ)
def test_what_moved_between_releases_is_always_explicit(version: str) -> None:
    line = rendered(parse(version), spec_for(parse(version), "off"))
    flags = {argument.split("=")[0] for argument in line}
    assert flags >= {
        "--max-num-seqs",
        "--max-num-batched-tokens",
        "--max-model-len",
        "--gpu-memory-utilization",
        "--tensor-parallel-size",
        "--kv-cache-dtype",
    }
