"""When two accounts of the same decisions agree."""

import pytest

from rehearsal.backtests import disagreement

Entry = dict[str, str]


def entry(*, to: str = "Off", reason: str = "AcceptanceCollapsed", at: str = "12:00:00") -> Entry:
    return {"from": "Draft", "to": to, "reason": reason, "at": f"2026-11-23T{at}Z"}


@pytest.mark.parametrize(
    ("live", "later", "said"),
    [
        pytest.param([], [], "", id="nothing was decided"),
        pytest.param([entry()], [entry()], "", id="the same at the same time"),
        pytest.param([entry()], [entry(at="12:00:10")], "", id="two scrapes later"),
        pytest.param([entry(at="12:00:11")], [entry()], "up to 11 s apart", id="more than two scrapes earlier"),
        pytest.param([entry()], [], "the operator decided Draft -> Off", id="the backtest decides nothing"),
        pytest.param([], [entry()], "the backtest Draft -> Off", id="the operator decided nothing"),
        pytest.param([entry()], [entry(to="NGram")], "the backtest Draft -> NGram", id="another mode"),
        pytest.param([entry()], [entry(reason="LatencyOverLimit")], "LatencyOverLimit", id="another reason"),
        pytest.param([entry(), entry(to="NGram")], [entry(to="NGram"), entry()], "decided", id="in another order"),
    ],
)
def test_agreement(live: list[Entry], later: list[Entry], said: str) -> None:
    different = disagreement(live, later)
    assert said in different
    assert bool(different) is bool(said)
