"""What an engine step would cost without speculation, from what it costs with it."""

import pytest
from builders import GIB, mode_plan

from specdecode.decide.steptime import DraftCost, draft_cost, off_step_seconds
from specdecode.plan.types import LedgerLine


def line(name: str, gib: float) -> LedgerLine:
    size = -int(gib * GIB)
    return LedgerLine(name, size, size, size, "test")


def test_the_draft_costs_what_its_weights_are_to_those_of_the_target() -> None:
    rung = mode_plan(ledger=(line("targetWeights", 64), line("draftWeights", 8), line("kvCache", 4)))
    assert draft_cost(rung, 5) == DraftCost(5, 0.125)
    assert draft_cost(mode_plan(ledger=(line("targetWeights", 64),)), 4) == DraftCost(4, 0.0)
    assert draft_cost(mode_plan(), 4) == DraftCost(4, 0.0)


@pytest.mark.parametrize(
    ("on_ms", "running", "cost", "off_ms"),
    [
        # Llama-3.1-8B with an EAGLE head on an H100, three tokens, 500 tokens of context (arXiv 2601.11580).
        pytest.param(9.3, 1, DraftCost(3, 0.06), 7.1, id="eagle at batch 1"),
        pytest.param(15.9, 64, DraftCost(3, 0.06), 9.7, id="eagle at batch 64"),
        pytest.param(7.2, 1, DraftCost(3, 0.0), 7.1, id="n-gram pays for verification only"),
        pytest.param(10.0, 0, DraftCost(3, 0.0), 10.0, id="no request counts as one"),
        pytest.param(1.0, 1, DraftCost(5, 0.1), 1.0, id="never more than a step that speculates"),
        pytest.param(3.0, 1, DraftCost(5, 0.1), 1.87, id="fixed costs take at most two thirds of a short step"),
    ],
)
def test_the_step_without_speculation(on_ms: float, running: float, cost: DraftCost, off_ms: float) -> None:
    assert 1000 * off_step_seconds(on_ms / 1000, running, cost) == pytest.approx(off_ms, rel=0.1)
