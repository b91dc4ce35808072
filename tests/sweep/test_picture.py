"""The pictures: which are drawn, of what, and that matplotlib draws them without a warning."""

from pathlib import Path

import matplotlib.image
import pytest
from sweep.sweeps import cell, drafted, measured, off, pair, steady, sweep

from specdecode.sweep.picture import write_pictures
from specdecode.sweep.report import Report, report_of


def _report(*, requests: int = 40, modes: tuple[tuple[str, int], ...] = (("Draft", 3),)) -> Report:
    pairs = [
        pair(cell(temperature, at, mode=mode, tokens=tokens, kind=kind), on_ms=10 + at, off_ms=20, requests=requests)
        for mode, tokens in modes
        for kind in ("code", "chat")
        for temperature in (0.0, 0.8)
        for at in (1, 16)
    ]
    return report_of(sweep(*(on for on, _ in pairs)), sweep(*(without for _, without in pairs)))


_ALONE = report_of(sweep(measured(cell(), steady(0.02), counters=drafted(0.7))), None)


@pytest.mark.parametrize(
    ("report", "names"),
    [
        pytest.param(_report(), ["acceptance.png", "speedup.png"], id="a grid with its baseline: both"),
        pytest.param(
            _report(modes=(("Draft", 1), ("Draft", 3), ("NGram", 3))),
            ["acceptance.png", "speedup.png"],
            id="three settings: three panels in one picture",
        ),
        pytest.param(_report(requests=1), ["acceptance.png", "speedup.png"], id="no bounds: points without bars"),
        pytest.param(_ALONE, ["acceptance.png"], id="no baseline: no speed-up"),
        pytest.param(
            report_of(sweep(measured(cell(), steady(0.01))), sweep(measured(off(cell()), steady(0.02)))),
            ["speedup.png"],
            id="no counters: no acceptance",
        ),
        pytest.param(report_of(sweep(), None), [], id="nothing measured: nothing drawn"),
    ],
)
def test_what_was_measured_is_drawn(report: Report, names: list[str], tmp_path: Path) -> None:
    paths = write_pictures(report, tmp_path)
    assert [path.name for path in paths] == names
    for path in paths:
        assert matplotlib.image.imread(path).std() > 0.01


def test_a_directory_that_does_not_exist_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        write_pictures(_ALONE, tmp_path / "nowhere")
