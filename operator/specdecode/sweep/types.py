"""What a sweep measures, as values. Times are seconds, moments Unix seconds.

One direction: `Cell`s are asked, each gives a `Measured`; a `Sweep` is all of them at one endpoint.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Cell:
    """One point of the grid."""

    mode: str
    """The mode that the engine runs, as the sweep was told or found out; `Off` does not speculate."""
    num_speculative_tokens: int
    """0: the engine does not speculate."""
    kind: str
    """Of prompts: `code`, `extraction`, `summary`, `chat`, `story`, or `prompts` for the user's own."""
    temperature: float
    concurrency: int
    """Requests at once, each followed by the next."""


@dataclass(frozen=True)
class Answer:
    """One request after the warm-up."""

    prompt: int
    """Number of the prompt in its kind."""
    seed: int
    started_at: float
    ttft_seconds: float = math.nan
    """NaN: no token came."""
    e2e_seconds: float = math.nan
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str = ""
    """One sentence when the request failed; nothing of it counts then but that it failed."""

    @property
    def tpot_seconds(self) -> float:
        """Time per output token after the first; NaN with fewer than two."""
        return (self.e2e_seconds - self.ttft_seconds) / (self.output_tokens - 1) if self.output_tokens > 1 else math.nan


@dataclass(frozen=True)
class Drafted:
    """What the engine's counters gained over a cell."""

    drafts: float
    draft_tokens: float
    accepted_tokens: float
    accepted_at: tuple[float, ...] = ()
    """Accepted tokens by position in the draft."""

    @property
    def acceptance_rate(self) -> float:
        """Accepted / proposed; NaN without drafts."""
        return self.accepted_tokens / self.draft_tokens if self.draft_tokens > 0 else math.nan

    @property
    def acceptance_length(self) -> float:
        """1 + accepted / drafts; NaN without drafts."""
        return 1 + self.accepted_tokens / self.drafts if self.drafts > 0 else math.nan


@dataclass(frozen=True)
class Measured:
    """One cell, measured; or as much of it as there was when it ended early."""

    cell: Cell
    seconds: float
    """From the first request after the warm-up to the last token."""
    answers: tuple[Answer, ...]
    drafted: Drafted | None = None
    """None: the endpoint does not say, or does not speculate."""
    is_whole: bool = True
    is_doubtful: bool = False
    """Something disturbed it: other traffic, a restart, answers that came in bursts. Its notes say what."""
    notes: tuple[str, ...] = ()
    """What must be known to believe it, one sentence each."""

    @property
    def answered(self) -> tuple[Answer, ...]:
        """Answers without an error."""
        return tuple(answer for answer in self.answers if not answer.error)

    @property
    def output_tokens_per_second(self) -> float:
        """Throughput of the whole cell."""
        return sum(answer.output_tokens for answer in self.answered) / self.seconds if self.seconds > 0 else math.nan


@dataclass(frozen=True)
class Sweep:
    """Everything measured at one endpoint."""

    endpoint: str
    """URL without credentials."""
    model: str
    engine_version: str
    """Empty: the endpoint does not say."""
    started_at: float
    asked: Mapping[str, str] = field(default_factory=dict)
    """What was asked for, by option: two sweeps are comparable when it is the same."""
    cells: tuple[Measured, ...] = ()
