"""How the engine behaves: what the hardware, the models and the traffic decide in reality. Written by the stories.

A plain value and its file. What it means for a step is `model`'s business.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

CHECK_SECONDS = 0.5
"""A change of the file is seen after this time at the latest."""

Probability = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


class DraftKind(StrEnum):
    """What proposes tokens. The first word of each is also the name of its acceptance in `Behaviour`."""

    OFF = "off"
    DRAFT = "draft"
    QUANTIZED_DRAFT = "quantized_draft"
    NGRAM = "ngram"
    EAGLE = "eagle"


class Behaviour(BaseModel):
    """How the engine behaves.

    The time of a step is that of the affine model of arXiv 2601.11580. The constants are not those fitted there (5.886
    ms, 21.01 us, 39.3 ns, 2.135 ms for three passes, 1.207 ms: Llama-3.1-8B on an H100): steps are longer, because
    several simulated engines share a small machine, and each token costs more, so that a few requests show what many
    would. With four requests and three proposed tokens the time per output token is 8 ms at an acceptance of 0.87, 19
    ms without speculation, and 23 ms when nothing is accepted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_seconds: NotNegative = 2.0
    """From the start of the program until it answers."""

    draft: Probability = 0.87
    """Acceptance of the next draft token, given that all before it were accepted; at temperature 0, by draft kind."""
    quantized_draft: Probability = 0.86
    ngram: Probability = 0.75
    eagle: Probability = 0.8
    ngram_match: Probability = 0.6
    """Share of steps in which n-gram finds something to propose."""
    temperature_sensitivity: NotNegative = 0.5
    """At temperature T acceptance is multiplied by exp(-sensitivity * T)."""

    c0_ms: NotNegative = 18.0
    """Of every step."""
    c1_us_per_token: NotNegative = 150.0
    """Of each token that a step computes: prompt, draft and bonus tokens."""
    ckv_ns_per_token: NotNegative = 40.0
    """Of each token in the KV cache that a step reads."""
    draft_ms_per_token: NotNegative = 1.5
    """Of one pass of the draft, which proposes one token for every request."""
    overhead_ms: NotNegative = 0.5
    """Of a step that verifies draft tokens."""
    slow_factor: Annotated[float, Field(gt=0)] = 1.0
    """All steps take this much longer: a fault that speculation did not cause."""

    kv_cache_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens that fit in the KV cache. None: what follows from the command line."""

    exit_code_at_start: Annotated[int, Field(ge=0, le=255)] = 0
    """Not 0: the engine ends with it instead of becoming ready. 137: the kernel's out-of-memory killer took it."""
    stderr_at_start: str = ""
    """Its last words in that case."""
    fail_modes: tuple[DraftKind, ...] = ()
    """Only these fail at start; empty: all do."""

    empty_replies: bool = False
    """Every request ends after one token, with nothing in it, as with a broken chat template."""
    freeze_metrics: bool = False
    """`/metrics` goes on showing what it showed last."""

    def acceptance(self, kind: DraftKind) -> float:
        """Conditional acceptance of a draft token at temperature 0."""
        return 0.0 if kind is DraftKind.OFF else float(getattr(self, kind))

    def fails_at_start(self, kind: DraftKind) -> bool:
        """Whether an engine with that kind of draft never becomes ready."""
        return self.exit_code_at_start != 0 and (not self.fail_modes or kind in self.fail_modes)


def write_behaviour(path: Path, behaviour: Behaviour) -> None:
    """Replace the file at once: a reader sees the old text or the new one."""
    text = behaviour.model_dump_json(indent=2)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


class BehaviourFile:
    """The behaviour as its file says now. Without a file, or before it exists, the default."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._value = Behaviour()
        self._seen_ns = 0
        self._next_check_seconds = float("-inf")

    def at(self, now_seconds: float) -> Behaviour:
        """The behaviour at a time of a monotonic clock; the file is looked at most every `CHECK_SECONDS`."""
        if self._path is not None and now_seconds >= self._next_check_seconds:
            self._next_check_seconds = now_seconds + CHECK_SECONDS
            self._read(self._path)
        return self._value

    def _read(self, path: Path) -> None:
        try:
            changed_ns, text = path.stat().st_mtime_ns, path.read_bytes()
        except FileNotFoundError:
            return
        if changed_ns == self._seen_ns:
            return
        self._seen_ns = changed_ns
        try:
            self._value = Behaviour.model_validate_json(text)
        except ValidationError as error:
            print(f"the behaviour in {path} is ignored: {error}", flush=True)
