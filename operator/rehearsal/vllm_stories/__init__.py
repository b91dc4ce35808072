"""The stories of the real engine, one module each. `VLLM_STORIES` is the order in which they are played."""

from rehearsal.vllm_stories.bad_flags import BAD_FLAGS
from rehearsal.vllm_stories.calibrated import CALIBRATED
from rehearsal.vllm_stories.same_answer import SAME_ANSWER
from rehearsal.vllm_stories.temperature_shift import TEMPERATURE_SHIFT

VLLM_STORIES = (BAD_FLAGS, CALIBRATED, SAME_ANSWER, TEMPERATURE_SHIFT)
"""Every story. Two are played at a time: first those that wait for engines, then those that keep them busy."""
