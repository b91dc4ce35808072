"""What the counters of speculation say over one window, by engine generation. Pure.

The second generation counts drafts, and accepted tokens up to the first rejection. The first one does neither: see
`specdecode.engine.metrics.MetricNames.emitted_tokens`. Its counters are told by the emitted tokens, which only it has,
because which generation runs also depends on the GPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from specdecode.observe.queries import Fact


@dataclass(frozen=True)
class Drafted:
    """Increases over one window."""

    drafts: float = 0.0
    draft_tokens: float = 0.0
    accepted_tokens: float = 0.0
    """Up to the first rejection of each draft."""


def _counted(facts: Mapping[str, float], _num_speculative_tokens: int) -> Drafted:
    return Drafted(facts[Fact.DRAFTS], facts[Fact.DRAFT_TOKENS], facts[Fact.ACCEPTED_TOKENS])


def _before_drafts_were_counted(facts: Mapping[str, float], num_speculative_tokens: int) -> Drafted:
    """As if all drafts were full. Shorter ones let acceptance look longer than it is, never shorter."""
    tokens = facts[Fact.DRAFT_TOKENS]
    return Drafted(tokens / num_speculative_tokens, tokens, facts[Fact.ACCEPTED_TOKENS])


def _of_first_generation(facts: Mapping[str, float], num_speculative_tokens: int) -> Drafted:
    """Acceptance from the ratio of the counters, and drafts from the steps of requests.

    Every draft is full. The counters grow by the totals since the start of the engine: they show more drafts than there
    were, and the ratio is a mean over the engine's life. A request drafts at most once per step, so the smaller number
    is the evidence.
    """
    counted = facts[Fact.DRAFT_TOKENS] / num_speculative_tokens
    if counted <= 0:
        return Drafted()
    accepted = min(max(facts[Fact.EMITTED_TOKENS] / counted - 1, 0.0), num_speculative_tokens)
    drafts = min(counted, facts.get(Fact.STEP_COUNT, 0.0))
    return Drafted(drafts, drafts * num_speculative_tokens, drafts * accepted)


_Read = Callable[[Mapping[str, float], int], Drafted]

_COUNTED = frozenset({Fact.DRAFTS, Fact.DRAFT_TOKENS, Fact.ACCEPTED_TOKENS})
_BEFORE_DRAFTS_WERE_COUNTED = frozenset({Fact.DRAFT_TOKENS, Fact.ACCEPTED_TOKENS})
_OF_FIRST_GENERATION = frozenset({Fact.DRAFT_TOKENS, Fact.ACCEPTED_TOKENS, Fact.EMITTED_TOKENS})
_ANY = _COUNTED | _OF_FIRST_GENERATION


def drafted(facts: Mapping[str, float], num_speculative_tokens: int, *, counts_drafts: bool) -> Drafted | None:
    """What was drafted in the window whose increases are `facts`; None when a counter is missing beside the others.

    `num_speculative_tokens` is the longest draft; 0: the mode does not speculate. `counts_drafts` says whether the
    version has a counter for drafts.
    """
    read: _Read
    present = facts.keys() & _ANY
    if not present:
        return Drafted()
    if Fact.EMITTED_TOKENS in present:
        needed, read = _OF_FIRST_GENERATION, _of_first_generation
    elif counts_drafts or Fact.DRAFTS in present:
        needed, read = _COUNTED, _counted
    else:
        needed, read = _BEFORE_DRAFTS_WERE_COUNTED, _before_drafts_were_counted
    is_readable = present >= needed and (num_speculative_tokens > 0 or read is _counted)
    return read(facts, num_speculative_tokens) if is_readable else None
