"""A page of /metrics as values: what each family is, and what its samples say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from prometheus_client.parser import text_string_to_metric_families

COMMON = frozenset({"model_name", "engine"})
"""Labels of nearly every series."""


@dataclass(frozen=True)
class Family:
    """One metric."""

    kind: str
    labels: frozenset[str]
    """`le` aside."""
    edges: tuple[float, ...] = ()
    """Of a histogram, without infinity."""

    def __str__(self) -> str:
        own = f" by {', '.join(sorted(self.labels - COMMON))}" if self.labels - COMMON else ""
        missing = f" without {', '.join(sorted(COMMON - self.labels))}" if COMMON - self.labels else ""
        edges = f", edges {' '.join(f'{edge:g}' for edge in self.edges)}" if self.edges else ""
        return f"{self.kind}{own}{missing}{edges}"


@dataclass(frozen=True)
class Page:
    """One answer of /metrics."""

    text: str = field(repr=False)

    @cached_property
    def _samples(self) -> Mapping[str, list[tuple[dict[str, str], float]]]:
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
        return found

    @cached_property
    def families(self) -> Mapping[str, Family]:
        """Every family of vLLM, by its name on the wire: counters with `_total`, histograms without a suffix."""
        return dict(self._families())

    def _families(self) -> Iterator[tuple[str, Family]]:
        for family in text_string_to_metric_families(self.text):
            if not family.name.startswith("vllm:") or family.name.endswith("_created"):
                continue
            kind, samples = family.type, family.samples
            name = f"{family.name}_total" if kind == "counter" else family.name
            labels = frozenset(label for sample in samples for label in sample.labels) - {"le"}
            bounds = {float(sample.labels["le"]) for sample in samples if "le" in sample.labels}
            yield name, Family(kind, labels, tuple(sorted(bounds - {float("inf")})))

    @property
    def sample_names(self) -> frozenset[str]:
        """Every name that a query can ask for."""
        return frozenset(self._samples)

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of every sample with exactly that name."""
        return list(self._samples.get(name, ()))

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples of a name that carry those labels. KeyError: there are none."""
        if name not in self._samples:
            raise KeyError(name)
        return sum(value for found, value in self._samples[name] if found.items() >= labels.items())
