"""How fast plans are. Times of this machine: printed, never a gate."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import yaml

from specdecode.api.resource import Rejection, SpecDecodeDeployment, parse
from specdecode.plan.make import make_plan

MANY = 10_000
EXAMPLES = Path(__file__).parents[2] / "examples"


def examples() -> tuple[SpecDecodeDeployment, ...]:
    """What people write: ladders of up to four modes."""
    parsed = (parse(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in sorted(EXAMPLES.glob("*.yaml")))
    return tuple(resource for resource in parsed if isinstance(resource, SpecDecodeDeployment))


@dataclass(frozen=True)
class Speed:
    """What planning takes."""

    one_plan_ms: float
    """Median."""
    slowest_ms: float
    many_seconds: float
    """Wall clock of all of them."""
    cpu_seconds: float
    """Processor time of all of them: what a busy machine cannot stretch."""
    plans: int


def measure(resources: Sequence[SpecDecodeDeployment], plans: int = MANY) -> Speed:
    """Plan all resources in turn until there are `plans`; parsing is not part of it."""
    took: list[float] = []
    before = time.process_time()
    for resource in islice(cycle(resources), plans):
        start = time.perf_counter()
        plan = make_plan(resource)
        took.append(time.perf_counter() - start)
        assert not isinstance(plan, Rejection), str(plan)
    return Speed(median(took) * 1000, max(took) * 1000, sum(took), time.process_time() - before, plans)
