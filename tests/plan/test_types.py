"""How others ask a plan for its modes."""

import pytest
from builders import mode_plan, plan

from specdecode.api.vocabulary import Mode

LADDER = plan(Mode.QUANTIZED_DRAFT, mode_plan(Mode.DRAFT, fits=False), Mode.NGRAM, Mode.OFF)


@pytest.mark.parametrize(
    ("mode", "below"),
    [
        pytest.param(Mode.QUANTIZED_DRAFT, (Mode.NGRAM, Mode.OFF), id="what does not fit is stepped past"),
        pytest.param(Mode.NGRAM, (Mode.OFF,), id="only what comes after"),
        pytest.param(Mode.OFF, (), id="nothing is below Off"),
    ],
)
def test_the_modes_below(mode: Mode, below: tuple[Mode, ...]) -> None:
    assert LADDER.fitting_below(mode) == below


def test_below_a_mode_that_is_not_on_the_ladder_lies_all_of_it() -> None:
    assert plan(Mode.NGRAM, Mode.OFF).fitting_below(Mode.DRAFT) == (Mode.NGRAM, Mode.OFF)


def test_a_mode_is_found_by_name() -> None:
    found = LADDER.mode(Mode.DRAFT)
    assert found is not None
    assert not found.fits
    assert plan(Mode.OFF).mode(Mode.DRAFT) is None
