"""Sequential detectors: what changed, since when, and how sure that is. Pure, calibrated on each deployment's own past.

One batch per pair of scrapes goes in. `days_per_false_step` is the only setting.
"""

from specdecode.decide.detect.clusters import ratio_interval
from specdecode.decide.detect.confidence import EMPTY_SEQUENCE, Sequence95, taken
from specdecode.decide.detect.watch import EMPTY_WATCH, Watch, signals, watched

__all__ = ["EMPTY_SEQUENCE", "EMPTY_WATCH", "Sequence95", "Watch", "ratio_interval", "signals", "taken", "watched"]
