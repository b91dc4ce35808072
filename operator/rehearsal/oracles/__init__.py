"""Judges of a run that know nothing of its faults.

`state` compares what is left at the end with reference runs, `counts` what was created, changed and deleted on the way,
as the API server saw it, and `refusals` looks whether a bad input was said to be one.
"""

from rehearsal.oracles.counts import Counts, count_differences, counts_of
from rehearsal.oracles.refusals import unseen_refusals
from rehearsal.oracles.state import Reference, State, differences, renamed

__all__ = [
    "Counts",
    "Reference",
    "State",
    "count_differences",
    "counts_of",
    "differences",
    "renamed",
    "unseen_refusals",
]
