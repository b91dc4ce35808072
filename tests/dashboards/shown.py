"""What the operator and its engines show: every metric with its type and labels, as the code declares it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from prometheus_client.metrics import MetricWrapperBase

from rehearsal.engine.metrics import _listed
from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.meter.middleware import Instruments
from specdecode.resource_metrics import FAMILIES, ROLLBACKS
from specdecode.telemetry import Metrics

_TARGET = frozenset({"job", "instance", "namespace", "pod"})
_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


@dataclass(frozen=True)
class Declared:
    """One metric of the operator."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> tuple[str, ...]:
        return tuple(self.name + suffix for suffix in _SUFFIXES[self.kind])


def declared() -> tuple[Declared, ...]:
    """All of the operator's own, by name."""
    metrics = Metrics()
    collectors = metrics.registry._collector_to_names
    own = [each for each in collectors if isinstance(each, MetricWrapperBase)]
    found = [Declared(each._name, each._type, tuple(each._labelnames), each._documentation) for each in own]
    of_resources = (*FAMILIES, ROLLBACKS)
    found += [Declared(each.name, each.kind, ("namespace", "name", *each.labels), each.help) for each in of_resources]
    return tuple(sorted(found, key=lambda each: each.name))


def _engines() -> dict[str, frozenset[str]]:
    """Series of the engines and their labels, as the simulated engine of 0.32 lists them, and older names."""
    common = _TARGET | {"model_name", "engine", "specdecode_io_deployment", "specdecode_io_mode", "specdecode_io_arm"}
    found: dict[str, frozenset[str]] = {"up": common}
    for listed in _listed():
        own = common | {listed["label"]} if listed.get("label") else common
        for suffix in _SUFFIXES[listed["kind"]]:
            found[listed["name"] + suffix] = own | ({"le"} if suffix == "_bucket" else frozenset())
    for version in (EngineVersion(0, 9, 2), EngineVersion(0, 32, 0)):
        names: MetricNames = metric_names(version)
        for each in fields(names):
            name = getattr(names, each.name)
            if name is not None:
                found.setdefault(name, common)
    meter = Instruments(Metrics().registry).rate
    for suffix in _SUFFIXES["histogram"]:
        found[meter._name + suffix] = common | {"temperature_bucket", "le"}
    return found


def series() -> Mapping[str, frozenset[str]]:
    """Every series that a dashboard or an alert may name, and its labels."""
    own = {name: _TARGET | set(metric.labels) | {"le"} for metric in declared() for name in metric.series}
    process = dict.fromkeys(("process_resident_memory_bytes",), _TARGET)
    return _engines() | own | process
