"""The stories, one module each. `STORIES` is the order in which they are listed."""

from rehearsal.stories.blind import BLIND
from rehearsal.stories.collapse import COLLAPSE
from rehearsal.stories.control import CONTROL
from rehearsal.stories.does_not_fit import DOES_NOT_FIT
from rehearsal.stories.gitops import GITOPS
from rehearsal.stories.healthy_drift import HEALTHY_DRIFT
from rehearsal.stories.install import INSTALL
from rehearsal.stories.latency import LATENCY
from rehearsal.stories.mixed_traffic import MIXED_TRAFFIC
from rehearsal.stories.no_spare_gpu import NO_SPARE_GPU
from rehearsal.stories.qualify import QUALIFY
from rehearsal.stories.quantized_draft import QUANTIZED_DRAFT
from rehearsal.stories.restart import RESTART
from rehearsal.stories.slow_decay import SLOW_DECAY

STORIES = (
    COLLAPSE,
    QUANTIZED_DRAFT,
    QUALIFY,
    LATENCY,
    CONTROL,
    HEALTHY_DRIFT,
    MIXED_TRAFFIC,
    SLOW_DECAY,
    BLIND,
    GITOPS,
    NO_SPARE_GPU,
    DOES_NOT_FIT,
    RESTART,
    INSTALL,
)
"""Every story."""
