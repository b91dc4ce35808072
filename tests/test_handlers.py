"""How the watches behave where kopf's defaults would not do."""

from itertools import islice

from specdecode.handlers import Pauses, watch_settings


def test_a_watch_is_tried_again_for_as_long_as_it_takes() -> None:
    """Kopf gives up after nine attempts, and ends the process with it."""
    pauses = watch_settings().networking.error_backoffs
    assert isinstance(pauses, Pauses)
    hour = list(islice(pauses, 1_000))
    assert sum(hour) > 3_600
    assert hour == sorted(hour)
    assert max(hour) == Pauses.LONGEST
    assert list(islice(pauses, 3)) == [1.0, 1.0, 2.0], "each request begins anew"
