"""What a changed spec would do to a deployment that runs: its flags, its memory, its pods, its rollback. Offline: the
plan is the operator's own, with what the cluster's engines were measured to take.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from specdecode.api.resource import Problem, Rejection, SpecDecodeDeployment, digest, parse
from specdecode.api.vocabulary import Mode
from specdecode.calibrate import calibrations_for
from specdecode.cli.cluster.subject import Subject
from specdecode.cli.side_by_side import Difference, different_flags
from specdecode.decide.facts import Availability, Cluster, Measurement
from specdecode.decide.latch import asked_mode
from specdecode.decide.situation import Situation
from specdecode.engine.models import ModelFacts
from specdecode.manifests.build import build
from specdecode.plan.knowledge import Knowledge, ModelKey
from specdecode.plan.make import make_plan
from specdecode.plan.startup import expected_start_seconds, startup_budget_seconds
from specdecode.plan.types import ModePlan, Plan

Models = Mapping[ModelKey, ModelFacts | Problem]


@dataclass(frozen=True)
class Service:
    """What a restart costs those who use it."""

    replicas: int
    start_seconds: float
    """Of one pod, usually."""
    budget_seconds: int
    """After which a start counts as failed."""

    @property
    def sentence(self) -> str:
        """With where the estimate is from."""
        usual = f"about {round(self.start_seconds / 60) or 1} min"
        source = (
            f"estimated from the bytes to load, 130 s and 0.8 GB/s as published starts took; a start counts as failed "
            f"after {self.budget_seconds // 60} min"
        )
        if self.replicas <= 1:
            return f"no service for {usual}: the only pod goes before the new one comes ({source})"
        whole = f"about {round(self.replicas * self.start_seconds / 60) or 1} min in all"
        return (
            f"{self.replicas} pods restart one after the other, {usual} each, {whole}; {self.replicas - 1} serve "
            f"meanwhile ({source})"
        )


@dataclass(frozen=True)
class Side:
    """One of the two specs, planned."""

    resource: SpecDecodeDeployment
    plan: Plan
    mode: Mode
    """What runs under it, or would."""

    @property
    def rung(self) -> ModePlan:
        """The plan of that mode."""
        return self.plan.mode(self.mode) or self.plan.requested

    def template(self) -> Mapping[str, Any]:
        """Of its pods."""
        template: Mapping[str, Any] = build(self.resource, self.plan)[self.rung.mode].deployment["spec"]["template"]
        return template


@dataclass(frozen=True)
class Change:
    """What `diff` shows of one deployment."""

    namespace: str
    name: str
    is_new: bool
    refusal: Rejection | None
    """The new spec is refused, or does not fit: what runs stays."""
    fields: tuple[Difference, ...]
    """Of the spec, by their paths."""
    modes: tuple[Mode | None, Mode | None]
    """Before and after."""
    why_mode: str
    flags: tuple[Difference, ...]
    memory: tuple[Difference, ...]
    """Bytes per GPU by the lines of the ledger, and tokens of the KV cache."""
    pods: tuple[Difference, ...]
    """What makes the pods restart, by its path in their template."""
    template_hashes: tuple[str, str]
    service: Service | None
    """None: no pod restarts."""
    rearmed: str
    """What becomes of a rollback in force; empty: there is none."""
    scale: tuple[int | None, int | None]

    @property
    def is_any(self) -> bool:
        """Whether there is any difference."""
        return self.is_new or bool(self.fields)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) and "name" in each for each in value):
        for each in value:
            yield from _flat({name: part for name, part in each.items() if name != "name"}, f"{path}[{each['name']}]")
    elif value not in (None, {}, []):
        yield path, value


def _apart(left: Any, right: Any, root: str) -> tuple[Difference, ...]:
    ours, theirs = dict(_flat(left, root)), dict(_flat(right, root))
    names = dict.fromkeys((*ours, *theirs))
    return tuple(
        Difference(name, ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)
    )


def _spec(resource: SpecDecodeDeployment) -> dict[str, Any]:
    return resource.spec.model_dump(mode="json", by_alias=True)


def _planned(resource: SpecDecodeDeployment, subject: Subject, models: Models) -> Plan | Rejection:
    calibrations = calibrations_for(resource.spec_hash, subject.status.calibration)
    return make_plan(resource, Knowledge(models, calibrations))


def _situation(resource: SpecDecodeDeployment, plan: Plan, subject: Subject) -> Situation:
    placed = resource.model_copy(
        update={
            "status": subject.status,
            "metadata": subject.metadata.model_copy(
                update={"annotations": subject.metadata.annotations | resource.metadata.annotations}
            ),
        }
    )
    unmeasured = Measurement(Availability.NO_DATA, "offline")
    return Situation(placed, plan, Cluster(None), unmeasured, subject.now, 60.0)


_SUMS = frozenset({"memory", "quotedWeights", "left", "total", "budgetTaken"})
"""Lines of the ledger that only add up others."""


def _memory_lines(mode: ModePlan) -> dict[str, float]:
    lines = {line.name: float(abs(line.bytes)) for line in mode.ledger if line.bytes and line.name not in _SUMS}
    return lines | {"kvCacheTokens": float(mode.kv_cache_tokens)}


def _memory(left: ModePlan, right: ModePlan) -> tuple[Difference, ...]:
    ours, theirs = _memory_lines(left), _memory_lines(right)
    names = dict.fromkeys((*ours, *theirs))
    return tuple(
        Difference(name, ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)
    )


def _rearmed(subject: Subject, new: SpecDecodeDeployment) -> str:
    latch = subject.latch
    if latch is None:
        return ""
    if latch.spec_hash == new.spec_hash:
        return f"the rollback to {latch.to} ({latch.reason}) stays: nothing that decides what runs is another"
    return f"the rollback to {latch.to} ({latch.reason}) ends: the spec hash is another, {new.spec_hash}"


def _unfit(plan: Plan) -> Rejection | None:
    if plan.requested.fits:
        return None
    remedies = " or ".join(plan.requested.remedies) or "more GPUs"
    message = f"short by {plan.requested.short_bytes / 1024**3:.1f}Gi per GPU; {remedies} would help"
    return Rejection("DoesNotFit", (Problem(str(plan.requested.mode), "", message),))


def _service(subject: Subject, after: Side) -> Service:
    replicas = after.resource.spec.replicas
    count = replicas if replicas is not None else subject.status.replicas or 1
    load = after.rung.load_bytes
    return Service(count, expected_start_seconds(load), startup_budget_seconds(load))


def _refused(subject: Subject, new: SpecDecodeDeployment, why: Rejection, fields: tuple[Difference, ...]) -> Change:
    running = subject.status.mode
    return Change(
        namespace=subject.metadata.namespace,
        name=new.metadata.name,
        is_new=False,
        refusal=why,
        fields=fields,
        modes=(running, running),
        why_mode="a spec that cannot run changes nothing: what runs stays",
        flags=(),
        memory=(),
        pods=(),
        template_hashes=("", ""),
        service=None,
        rearmed="",
        scale=(None, None),
    )


def change_of(subject: Subject, new: SpecDecodeDeployment, models: Models) -> Change | Rejection:
    """What the new spec does to the deployment; a rejection where the stored one cannot be read by this version."""
    old = parse(subject.body)
    if isinstance(old, Rejection):
        return old
    fields = _apart(_spec(old), _spec(new), "spec")
    planned = _planned(new, subject, models)
    why = planned if isinstance(planned, Rejection) else _unfit(planned)
    if why is not None or isinstance(planned, Rejection):
        assert why is not None
        return _refused(subject, new, why, fields)
    asked = asked_mode(_situation(new, planned, subject))
    after = Side(new, planned, asked.mode)
    was = _planned(old, subject, models)
    if isinstance(was, Rejection) or not was.requested.fits:
        return _appearing(subject, after, asked.message, fields, is_new=False)
    before = Side(old, was, subject.status.mode or asked_mode(_situation(old, was, subject)).mode)
    return _compared(subject, before, after, asked.message, fields)


def _compared(subject: Subject, before: Side, after: Side, why_mode: str, fields: tuple[Difference, ...]) -> Change:
    if subject.is_paused:
        after = before
        why_mode = f"it is paused: nothing changes until {subject.command('resume')}"
    templates = before.template(), after.template()
    pods = _apart(*templates, "template")
    return Change(
        namespace=subject.metadata.namespace,
        name=after.resource.metadata.name,
        is_new=False,
        refusal=None,
        fields=fields,
        modes=(before.mode, after.mode),
        why_mode=why_mode,
        flags=different_flags(before.rung, after.rung),
        memory=_memory(before.rung, after.rung),
        pods=pods,
        template_hashes=(digest(templates[0]), digest(templates[1])),
        service=_service(subject, after) if pods else None,
        rearmed="" if subject.is_paused else _rearmed(subject, after.resource),
        scale=(before.resource.spec.replicas, after.resource.spec.replicas),
    )


def _appearing(subject: Subject, after: Side, why_mode: str, fields: tuple[Difference, ...], *, is_new: bool) -> Change:
    """Where nothing of the stored spec could run. What runs all the same is of one before it."""
    is_serving = bool(subject.status.replicas)
    return Change(
        namespace=subject.metadata.namespace,
        name=after.resource.metadata.name,
        is_new=is_new,
        refusal=None,
        fields=fields,
        modes=(None, after.mode),
        why_mode=why_mode,
        flags=(),
        memory=(),
        pods=(),
        template_hashes=("", digest(after.template())),
        service=_service(subject, after) if is_serving else None,
        rearmed=_rearmed(subject, after.resource),
        scale=(None, after.resource.spec.replicas),
    )


def creation_of(subject: Subject, new: SpecDecodeDeployment, models: Models) -> Change:
    """What a deployment does that is not there yet. `subject` is the new one itself."""
    planned = _planned(new, subject, models)
    why = planned if isinstance(planned, Rejection) else _unfit(planned)
    if why is not None or isinstance(planned, Rejection):
        assert why is not None
        refused = _refused(subject, new, why, ())
        return Change(**{**refused.__dict__, "is_new": True, "why_mode": "a spec that cannot run starts nothing"})
    asked = asked_mode(_situation(new, planned, subject))
    return _appearing(subject, Side(new, planned, asked.mode), asked.message, (), is_new=True)
