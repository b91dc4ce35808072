"""The shipped catalogue: config.json files of well-known models, read by the same reader as any other.

Look-up is by exact repository name: a near miss is another model. Entries that the reader refuses are kept, so that
the refusal says why instead of asking for facts.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any

from specdecode.api.resource import Problem
from specdecode.engine.checkpoint.config import facts_of_config
from specdecode.engine.facts import ModelFacts

_Entry = Mapping[str, Any]


def _read(name: str, entry: _Entry) -> ModelFacts | Problem:
    facts = facts_of_config(name, entry["config"], source=f"catalogue: {entry['source']}")
    if isinstance(facts, Problem) or facts.parameters is None:
        return facts
    # The size of an encoder is not in the keys of the text model, and some engines pad what they load.
    encoder = int(entry.get("encoder_parameters", 0))
    return replace(
        facts,
        family=entry.get("family"),
        parameters=facts.parameters + encoder,
        plain_parameters=facts.plain_parameters + encoder,
        weight_bytes=entry.get("loaded_bytes"),
    )


def _checkpoint(base: _Entry, entry: _Entry) -> _Entry:
    """A base model's entry with the quantisation of one of its checkpoints, and what that changes."""
    config = {**base["config"], "quantization_config": entry["quantization_config"], **entry.get("config", {})}
    return {**base, "config": config, "source": f"{base['source']}; {entry['source']}"}


def _entries(document: _Entry) -> Iterator[tuple[str, _Entry]]:
    bases = {name: entry for entry in document["models"] for name in entry["names"]}
    yield from bases.items()
    for entry in document["checkpoints"]:
        derived = _checkpoint(bases[entry["of"]], entry)
        yield from ((name, derived) for name in entry["names"])


@cache
def _everything() -> Mapping[str, ModelFacts | Problem]:
    text = resources.files("specdecode.engine").joinpath("data/models.json").read_text(encoding="utf-8")
    return {name: _read(name, entry) for name, entry in _entries(json.loads(text))}


@cache
def catalogue() -> Mapping[str, ModelFacts]:
    """Every model that is shipped with its facts, by repository name."""
    return {name: facts for name, facts in _everything().items() if isinstance(facts, ModelFacts)}


@cache
def refused_models() -> Mapping[str, Problem]:
    """Well-known models whose memory cannot be planned, by repository name, each with the reason."""
    return {name: problem for name, problem in _everything().items() if isinstance(problem, Problem)}
