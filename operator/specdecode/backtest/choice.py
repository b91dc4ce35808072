"""Which series of a history belong to the resource that is judged, and whether they are those of its engine. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from specdecode.api.resource import Problem, SpecDecodeDeployment
from specdecode.api.vocabulary import Arm, Mode
from specdecode.backtest.series import GENERATIONS
from specdecode.engine.metrics import MetricNames
from specdecode.observe.queries import ARM, DEPLOYMENT, MODE, NAMESPACE

MODEL_NAME = "model_name"

_TELLING = ("itl", "tpot", "kv_cache_usage")
"""Attributes of `MetricNames` whose series changed their name, or came, with a version."""


@dataclass(frozen=True)
class Choice:
    """The series that belong to the resource."""

    deployment: str = ""
    """Value of our label; empty: the series carry none of our labels, and all are of the requested mode."""
    namespace: str | None = None
    """None: whatever it is."""
    model: str | None = None
    """Value of `model_name`, where that tells engines without our labels apart."""

    @property
    def is_labelled(self) -> bool:
        """Whether our labels say what ran."""
        return self.deployment != ""

    @property
    def matchers(self) -> Mapping[str, str]:
        """Labels that a series must carry."""
        wanted = {DEPLOYMENT: self.deployment or None, NAMESPACE: self.namespace, MODEL_NAME: self.model}
        return {label: value for label, value in wanted.items() if value is not None}

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether a series belongs."""
        return all(labels.get(label, "") == value for label, value in self.matchers.items())


@dataclass(frozen=True)
class Wanted:
    """What a person asked for."""

    resource: SpecDecodeDeployment
    deployment: str | None = None
    namespace: str | None = None


def _shown(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")


def _unlabelled(wanted: Wanted, series: Collection[Mapping[str, str]]) -> Choice | Problem:
    if wanted.deployment is not None:
        return Problem(
            "--deployment",
            wanted.deployment,
            f"the series carry no label {DEPLOYMENT}; leave it out to take all of them as this resource's, or let the "
            "scrape configuration copy it: add {action: labelmap, regex: "
            "__meta_kubernetes_pod_label_(specdecode_io_.+)} to relabel_configs",
        )
    models = {labels.get(MODEL_NAME, "") for labels in series}
    if len(models) <= 1:
        return Choice(namespace=wanted.namespace)
    spec = wanted.resource.spec
    own = next((name for name in (spec.model.served_name, spec.model.name) if name in models), None)
    if own is None:
        return Problem(
            "spec.model.name",
            spec.model.name,
            f"the series are of {_shown(models)}, and no label {DEPLOYMENT} tells whose they are; use the resource of "
            "one of these models, or set spec.model.servedName",
        )
    return Choice(namespace=wanted.namespace, model=own)


def choose(wanted: Wanted, series: Collection[Mapping[str, str]]) -> Choice | Problem:
    """The series of one deployment. `series` holds the labels of those that every engine exposes."""
    within = [labels for labels in series if wanted.namespace in (None, labels.get(NAMESPACE))]
    if not within:
        places = _shown({labels.get(NAMESPACE, "") or "no namespace" for labels in series})
        return Problem("--namespace", wanted.namespace or "", f"has no series of vLLM; there are some in {places}")
    found = {(labels.get(NAMESPACE), labels[DEPLOYMENT]) for labels in within if labels.get(DEPLOYMENT)}
    if not found:
        return _unlabelled(wanted, within)
    name = wanted.deployment or wanted.resource.metadata.name
    own = [key for key in found if key[1] == name]
    if not own and wanted.deployment is None and len(found) == 1:
        own = list(found)
    every = _shown(f"{namespace or ''}/{deployment}" for namespace, deployment in found)
    if not own:
        return Problem("--deployment", name, f"is not in this history, which covers {every}; choose one of them")
    if len(own) > 1:
        in_own = [key for key in own if key[0] == wanted.resource.metadata.namespace]
        if len(in_own) != 1:
            return Problem("--namespace", "", f"is needed: this history covers {every}; choose one of them")
        own = in_own
    namespace, deployment = own[0]
    return Choice(deployment, namespace)


def _of_another_version(names: MetricNames, seen: Collection[str]) -> Mapping[str, str]:
    """Series that are there under the name of another version, by the name that was expected."""
    moved = {}
    for attribute in _TELLING:
        expected = getattr(names, attribute)
        others = {getattr(other, attribute) for _, other in GENERATIONS} - {expected, None}
        if expected is None or _has(seen, expected):
            continue
        other = next((other for other in sorted(others) if _has(seen, other)), None)
        if other is not None:
            moved[expected] = other
    return moved


def _has(seen: Collection[str], name: str) -> bool:
    return name in seen or f"{name}_count" in seen


def _versions_with(seen: Collection[str]) -> str:
    """Which versions expose what was seen, in words."""
    bounds = [text for text, _ in GENERATIONS]
    fits = [
        text
        for text, names in GENERATIONS
        if all((name := getattr(names, attribute)) is None or _has(seen, name) for attribute in _TELLING)
    ]
    if not fits:
        return "of no version that is known here"
    newest = bounds.index(fits[0])
    before = f" and before {bounds[newest - 1]}" if newest else ""
    return f"of vLLM from {fits[-1]} on{before}"


def wrong_version(names: MetricNames, version: str, seen: Collection[str]) -> Problem | None:
    """Why series are not those of the version that the spec names, if they are not."""
    moved = _of_another_version(names, seen)
    if not moved:
        return None
    which = ", ".join(f"{other} instead of {expected}" for expected, other in moved.items())
    return Problem(
        "spec.engine.version",
        version,
        f"the metrics are {_versions_with(seen)}: they hold {which}; set spec.engine.version (or the image's tag) to "
        "the version that ran",
    )


def no_engine(names: MetricNames, seen: Collection[str], field: str, where: str) -> Problem | None:
    """Why there is nothing to judge: no series of vLLM at all."""
    if names.running in seen:
        return None
    others = sorted(name for name in seen if name.startswith("vllm:"))
    has = f"only {_shown(others)}" if others else "no series of vLLM"
    return Problem(
        field,
        where,
        f"holds {has}; {names.running} is needed: look whether it scrapes the engines, and whether they run with "
        "--disable-log-stats",
    )


def group_of(choice: Choice, requested: Mode, labels: Mapping[str, str]) -> tuple[str, str]:
    """Mode and arm of a series, as labelled or as taken for granted."""
    if not choice.is_labelled:
        return requested.value, Arm.MAIN.value
    return labels.get(MODE, ""), labels.get(ARM, "")
