"""Start-up budgets against what starts were seen to take."""

import pytest

from specdecode.plan.startup import CAP_SECONDS, startup_budget_seconds


@pytest.mark.parametrize(
    ("load_gb", "seen_seconds"),
    [
        pytest.param(16, 294, id="8B on L40S, cold"),
        pytest.param(70, 275, id="70B FP8 and its first request"),
        pytest.param(140, 2400, id="70B in 16 bit from a slow disk"),
        pytest.param(810, 1200 + 215, id="405B in 16 bit"),
        pytest.param(0, 120, id="nothing to load"),
    ],
)
def test_a_start_that_was_seen_is_within_its_budget(load_gb: int, seen_seconds: int) -> None:
    assert seen_seconds < startup_budget_seconds(load_gb * 1000**3) <= CAP_SECONDS


def test_the_budget_is_bounded() -> None:
    assert startup_budget_seconds(0) == 600
    assert startup_budget_seconds(10**15) == CAP_SECONDS
