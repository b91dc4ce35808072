"""What the ledger counts: who speculates, who wants to step, who stepped, and what was decided a moment ago."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from builders import NOW

from specdecode.fleet import Ledger, Standing

OWN = ("serving", "own")
OTHER = ("serving", "other")
ELSEWHERE = ("search", "elsewhere")


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def surveyed(*standings: Standing) -> Ledger:
    ledger = Ledger(max_namespace_steps=5)
    ledger.survey(NOW, standings)
    return ledger


def standing(
    key: tuple[str, str], *, speculates: bool = True, wants: bool = False, steps: tuple[datetime, ...] = ()
) -> Standing:
    return Standing(key, speculates, wants, steps)


@pytest.mark.parametrize(
    ("others", "counts"),
    [
        pytest.param((), (1, 1), id="alone"),
        pytest.param((standing(OTHER),), (2, 1), id="a healthy neighbour"),
        pytest.param((standing(OTHER, speculates=False),), (1, 1), id="one that never speculates could not step"),
        pytest.param((standing(OTHER, wants=True),), (2, 2), id="another wants to step"),
        pytest.param(
            (standing(OTHER, speculates=False, steps=(ago(9),)),), (2, 2), id="another stepped nine minutes ago"
        ),
        pytest.param((standing(OTHER, speculates=False, steps=(ago(10),)),), (1, 1), id="ten minutes ago: long past"),
        pytest.param((standing(OTHER, wants=True, steps=(ago(1), ago(2))),), (2, 2), id="nobody is counted twice"),
        pytest.param((standing(ELSEWHERE, wants=True),), (2, 2), id="the breaker knows no namespaces"),
    ],
)
def test_who_is_counted(others: tuple[Standing, ...], counts: tuple[int, int]) -> None:
    fleet = surveyed(standing(OWN, wants=True), *others).fleet(OWN, NOW)
    assert (fleet.judged, fleet.stepping) == counts


def test_the_rate_limit_counts_steps_of_the_own_namespace_alone() -> None:
    others = (standing(OTHER, steps=(ago(3), ago(20))), standing(ELSEWHERE, steps=(ago(1),)))
    fleet = surveyed(standing(OWN, steps=(ago(7),)), *others).fleet(OWN, NOW)
    assert fleet.namespace_steps == (ago(7), ago(3))
    assert fleet.max_namespace_steps == 5


def test_a_step_counts_from_the_moment_it_is_decided() -> None:
    ledger = surveyed(standing(OWN), standing(OTHER))
    assert ledger.fleet(OWN, NOW).stepping == 1
    ledger.decided(OTHER, NOW)
    fleet = ledger.fleet(OWN, NOW)
    assert (fleet.stepping, fleet.namespace_steps) == (2, (NOW,))
    ledger.survey(NOW + timedelta(minutes=1), (standing(OWN), standing(OTHER, steps=(NOW,))))
    assert ledger.fleet(OWN, NOW).namespace_steps == (NOW,), "its status says the same: one step"


def test_a_step_of_ones_own_that_could_not_be_written_is_no_step() -> None:
    ledger = surveyed(standing(OWN))
    ledger.decided(OWN, NOW)
    assert ledger.fleet(OWN, NOW).namespace_steps == ()


def test_a_wish_counts_for_ten_minutes_and_so_does_a_decision() -> None:
    ledger = surveyed(standing(OWN), standing(OTHER, wants=True))
    ledger.decided(ELSEWHERE, NOW)
    soon, later = NOW + timedelta(minutes=9), NOW + timedelta(minutes=10)
    ledger.survey(soon, (standing(OWN), standing(OTHER)))
    assert ledger.fleet(OWN, soon).stepping == 3
    ledger.survey(later, (standing(OWN), standing(OTHER)))
    assert ledger.fleet(OWN, later).stepping == 1


def test_one_survey_serves_all_who_are_judged_by_the_same_measurements() -> None:
    assert Ledger(max_namespace_steps=5).is_due(NOW)
    ledger = surveyed()
    assert not ledger.is_due(NOW)
    assert not ledger.is_due(ago(1)), "one that was not measured is judged by the time of its visit, a little later"
    assert ledger.is_due(NOW + timedelta(seconds=15))


def test_of_another_replica_s_deployments_the_steps_count_for_the_limit_and_nothing_for_the_breaker() -> None:
    others = (replace(standing(OTHER, wants=True, steps=(ago(3),)), is_own=False),)
    fleet = surveyed(standing(OWN), *others).fleet(OWN, NOW)
    assert (fleet.judged, fleet.stepping, fleet.namespace_steps) == (1, 1, (ago(3),))
