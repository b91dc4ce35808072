"""A hundred converged deployments on the real API server and a real Prometheus: what the operator does with a fleet
that needs nothing. `make bench` has the sizes up to ten thousand.
"""

from pathlib import Path

import pytest
from bench.scale.measure import OURS, QUICK, measured

from rehearsal.binaries import Binaries

COUNT = 100


@pytest.mark.timeout(120)
async def test_a_converged_fleet_costs_reads_and_edits_are_answered(binaries: Binaries, tmp_path: Path) -> None:
    sized = await measured(binaries, tmp_path, COUNT, QUICK, print)
    figures = sized.figures[OURS]
    steady, queued, together = figures.steady, figures.queued, figures.together
    assert steady is not None
    assert queued is not None
    assert together is not None
    assert figures.writes_at_start == {}, "what a predecessor left in order is not written again"
    assert steady.writes == {}, "nothing happens, and nothing is written"
    assert 0 < steady.queries_per_tick <= 8, "however many deployments there are"
    assert queued.missed == together.missed == 0, "every edit is answered in status"
