"""How durations of a backtest are written."""

import pytest

from specdecode.cli.decisions import shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(44.6, "45s", id="seconds"),
        pytest.param(150, "2m30s", id="minutes"),
        pytest.param(11_100, "3h05m", id="hours"),
        pytest.param(30 * 86_400 + 7200, "30d02h", id="days"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert shown(seconds) == text
