"""Whether a retry has proved itself: then what went before is forgotten, and a later rollback starts the back-off anew.

The cautious direction: it is asked at every evaluation, so it takes a confidence sequence and not an interval that is
good for one look (arXiv 1810.08240), and a speed-up that was measured.
"""

from specdecode.decide.benefit import Benefit, Source
from specdecode.decide.latch import RETRIED_ACTION
from specdecode.decide.situation import View


def _break_even_rate(view: View, benefit: Benefit) -> float:
    """The acceptance rate at which speculation neither costs nor brings anything, at the present cost of a step."""
    slow = view.slow
    return (slow.acceptance_length / benefit.speedup.value - 1) * slow.drafts / slow.draft_tokens


def is_confirmed(view: View) -> bool:
    """Whether the mode was tried again under this spec and surely pays. Only in stage SETTLED."""
    situation = view.situation
    newest = next(iter(situation.status.history), None)
    if newest is None or newest.action != RETRIED_ACTION or newest.spec_hash != situation.resource.spec_hash:
        return False
    benefit, rate = view.expected_benefit, situation.measurement.signals.acceptance_rate
    if benefit is None or benefit.source is Source.PREDICTION or rate is None or view.slow.drafts <= 0:
        return False
    return benefit.speedup.low > 1 and rate.low > _break_even_rate(view, benefit)
