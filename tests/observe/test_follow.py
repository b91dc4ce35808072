"""What is followed of one deployment, when the numbers are none that arithmetic knows."""

from typing import Any

import pytest

from specdecode.api.vocabulary import Arm, Mode
from specdecode.decide import detect
from specdecode.engine.metrics import metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.follow import Followed
from specdecode.observe.subject import Subject
from specdecode.observe.track import layout_of, reading_of

NAMES = metric_names(EngineVersion(0, 32, 0))
LAYOUT = layout_of(NAMES, {})


@pytest.mark.parametrize("error", [OverflowError, ZeroDivisionError, ValueError])
def test_detectors_that_cannot_go_on_begin_anew(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(detect, "watched", breaks)
    subject = Subject(("serving", "chat"), Mode.OFF, NAMES, window_seconds=60, settled_since=0)
    followed = Followed(subject, 15)
    for at in (100.0, 115.0):
        counted = {"requests": at, "generation_tokens": at, "preemptions": 0.0, "step_sum": at, "step_count": at}
        followed.take(Arm.MAIN, LAYOUT, {"pod": reading_of(LAYOUT, at, counted)}, at)
    found = followed.measurement(115, pods_up=1, age_seconds=0)
    assert (found.signals.acceptance_fall, found.signals.tpot_rise, found.signals.decay) == (None, None, None)
    assert found.fast is not None
