"""What `--start` runs one after the other: modes of a resource, each with each number of tokens. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from specdecode.api.resource import Problem, SpecDecodeDeployment, problems_of
from specdecode.api.spec import SpeculationSpec
from specdecode.api.vocabulary import Mode
from specdecode.plan.types import ModePlan, Plan

MODES_FIELD = "--modes"
NUMBERS_FIELD = "--num-speculative-tokens"


@dataclass(frozen=True)
class Variant:
    """One engine to start."""

    plan: ModePlan
    num_speculative_tokens: int
    """0: without speculation."""
    engine_version: str

    @property
    def name(self) -> str:
        """For messages and files: `Draft-3`, `Off`."""
        return f"{self.plan.mode}-{self.num_speculative_tokens}" if self.num_speculative_tokens else str(self.plan.mode)


def read_modes(text: str | None) -> tuple[Mode, ...] | Problem:
    """Modes between commas, each once; none: as the plan says."""
    if text is None:
        return ()
    found: dict[Mode, None] = {}
    for name in text.split(","):
        try:
            found[Mode(name.strip())] = None
        except ValueError:
            return Problem(MODES_FIELD, text, f"must be of {', '.join(Mode)}, with commas between them")
    return tuple(found)


def with_numbers(
    resource: SpecDecodeDeployment, numbers: Sequence[int]
) -> tuple[tuple[int, SpecDecodeDeployment], ...] | Problem:
    """The resource once for each number of tokens; as written when none is asked for."""
    speculation = resource.spec.speculation
    if speculation is None:
        if numbers:
            return Problem(NUMBERS_FIELD, ",".join(map(str, numbers)), "needs spec.speculation in the file")
        return ((0, resource),)
    found = []
    for number in numbers or (speculation.num_speculative_tokens,):
        body = speculation.model_dump(mode="json", by_alias=True, exclude_none=True) | {"numSpeculativeTokens": number}
        try:
            changed = SpeculationSpec.model_validate(body)
        except ValidationError as error:
            problem = problems_of("spec.speculation", error)[0]
            return Problem(NUMBERS_FIELD, str(number), f"{problem.field}: {problem.message}")
        spec = resource.spec.model_copy(update={"speculation": changed})
        found.append((number, resource.model_copy(update={"spec": spec})))
    return tuple(found)


def variants_of(plans: Iterable[tuple[int, Plan]], modes: Sequence[Mode]) -> tuple[Variant, ...] | Problem:
    """What to start, `Off` first and once: the others are compared with it. By default the requested mode and `Off`."""
    found: list[Variant] = []
    for number, plan in plans:
        for mode in modes or (plan.requested_mode, Mode.OFF):
            rung = plan.mode(mode)
            if rung is None:
                choices = ", ".join(rung.mode for rung in plan.ladder)
                return Problem(MODES_FIELD, str(mode), f"is not on the ladder of the file; choose of {choices}")
            variant = Variant(rung, 0 if mode is Mode.OFF else number, plan.engine_version)
            if not rung.fits:
                return Problem(MODES_FIELD, variant.name, _does_not_fit(rung))
            if variant.name not in {other.name for other in found}:
                found.append(variant)
    return tuple(sorted(found, key=lambda variant: variant.num_speculative_tokens > 0))


def _does_not_fit(rung: ModePlan) -> str:
    remedies = " or ".join(rung.remedies) or "more GPUs"
    return f"does not fit: short by {rung.short_bytes} bytes per GPU; {remedies} would help"
