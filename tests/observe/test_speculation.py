"""Counters of speculation, by engine generation."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.observe.speculation import Drafted, drafted

COUNTED = {"drafts": 100.0, "draft_tokens": 480.0, "accepted_tokens": 300.0}
V0 = {"draft_tokens": 5000.0, "accepted_tokens": 4000.0, "emitted_tokens": 4000.0, "step_count": 400.0}


@pytest.mark.parametrize(
    ("facts", "tokens", "counts_drafts", "expected"),
    [
        pytest.param(COUNTED, 5, True, Drafted(100, 480, 300), id="drafts are counted: as they are"),
        pytest.param(COUNTED, 0, True, Drafted(100, 480, 300), id="counted drafts need no length"),
        pytest.param(COUNTED, 5, False, Drafted(100, 480, 300), id="counted by a newer version than said"),
        pytest.param({"step_count": 9.0}, 5, True, Drafted(), id="no counters: no speculation"),
        pytest.param({"drafts": 1.0, "draft_tokens": 5.0}, 5, True, None, id="no accepted tokens beside drafts"),
        pytest.param(
            {"draft_tokens": 5.0, "accepted_tokens": 5.0}, 5, True, None, id="no drafts where they should be counted"
        ),
        pytest.param(
            {"draft_tokens": 500.0, "accepted_tokens": 300.0},
            5,
            False,
            Drafted(100, 500, 300),
            id="before drafts were counted: as if all were full",
        ),
        pytest.param({"draft_tokens": 500.0, "accepted_tokens": 3.0}, 0, False, None, id="drafts of unknown length"),
        pytest.param({"draft_tokens": 500.0}, 5, False, None, id="draft tokens alone"),
        # 5000 / 5 = 1000 drafts by the inflated counter; four tokens came out of each, three of them drafted.
        pytest.param(V0, 5, True, Drafted(400, 2000, 1200), id="first generation: the steps are the evidence"),
        pytest.param(
            V0 | {"step_count": 1e6},
            5,
            False,
            Drafted(1000, 5000, 3000),
            id="more steps than drafts: a pause",
        ),
        pytest.param(V0 | {"emitted_tokens": 1000.0}, 5, False, Drafted(400, 2000, 0), id="one token per draft"),
        pytest.param(V0 | {"emitted_tokens": 900.0}, 5, False, Drafted(400, 2000, 0), id="a rounding below one token"),
        pytest.param(V0 | {"emitted_tokens": 9e9}, 5, False, Drafted(400, 2000, 2000), id="no more than was drafted"),
        pytest.param(V0 | {"draft_tokens": 0.0}, 5, False, Drafted(), id="first generation, nothing drafted"),
        pytest.param({**V0, "step_count": 0.0}, 5, False, Drafted(), id="idle while the counters still grow"),
        pytest.param(V0, 0, False, None, id="first generation, of unknown length"),
        pytest.param(
            {"draft_tokens": 5.0, "emitted_tokens": 5.0}, 5, False, None, id="first generation, a counter is missing"
        ),
    ],
)
def test_drafted(
    facts: dict[str, float],
    tokens: int,
    counts_drafts: bool,  # noqa: FBT001  a row of the table
    expected: Drafted | None,
) -> None:
    assert drafted(facts, tokens, counts_drafts=counts_drafts) == expected


RUNS = st.lists(st.tuples(st.integers(1, 500), st.integers(1, 6)), min_size=2, max_size=30)
"""Reports of a first-generation engine: drafts since the last one, and tokens that each of them gave."""


@given(reports=RUNS, history=st.integers(0, 100_000))
def test_totals_added_up_never_show_more_drafts_than_steps(reports: list[tuple[int, int]], history: int) -> None:
    """The counters as the engine writes them: each report adds the totals since its start."""
    tokens_per_draft = 5
    total_drafts, total_emitted, counted_tokens, counted_emitted = history, 2 * history, 0, 0
    for drafts, emitted in reports:
        total_drafts, total_emitted = total_drafts + drafts, total_emitted + drafts * emitted
        counted_tokens += total_drafts * tokens_per_draft
        counted_emitted += total_emitted
    steps = sum(drafts for drafts, _ in reports)
    facts = {
        "draft_tokens": float(counted_tokens),
        "accepted_tokens": float(counted_emitted),
        "emitted_tokens": float(counted_emitted),
        "step_count": float(steps),
    }
    found = drafted(facts, tokens_per_draft, counts_drafts=False)
    assert found is not None
    assert found.drafts == steps
    lengths = [emitted for _, emitted in reports] + [2] * (history > 0)
    length = 1 + found.accepted_tokens / found.drafts
    assert min(lengths) - 1e-9 <= length <= max(lengths) + 1e-9


@given(
    facts=st.dictionaries(
        st.sampled_from(["drafts", "draft_tokens", "accepted_tokens", "emitted_tokens", "step_count"]),
        st.floats(0, 1e12, allow_nan=False),
    ),
    tokens=st.integers(0, 32),
    counts_drafts=st.booleans(),
)
def test_whatever_is_counted_the_answer_is_finite(
    facts: dict[str, float],
    tokens: int,
    counts_drafts: bool,  # noqa: FBT001  hypothesis draws it
) -> None:
    found = drafted(facts, tokens, counts_drafts=counts_drafts)
    if found is not None:
        assert all(math.isfinite(value) and value >= 0 for value in vars(found).values())
