"""Golden objects: every line of them is meant. `UPDATE_GOLDEN=1 pytest tests/manifests` writes them anew."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import mode_plan, plan

from specdecode.api.resource import SpecDecodeDeployment, parse
from specdecode.api.vocabulary import Mode
from specdecode.manifests.build import Options, build
from specdecode.plan.types import Plan

CASES = Path(__file__).parents[1] / "data" / "manifests"
MONITOR = Options(pod_monitor=True, pod_monitor_labels=(("release", "prometheus"),))


class _Dumper(yaml.SafeDumper):
    """Writes out what occurs twice, instead of an alias."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _read(case: str) -> SpecDecodeDeployment:
    resource = parse(yaml.safe_load((CASES / case / "resource.yaml").read_text()))
    assert isinstance(resource, SpecDecodeDeployment), str(resource)
    return resource


def _plan(resource: SpecDecodeDeployment) -> Plan:
    """The requested mode, with the command line that matters here: the model's; and where a control runs, its own."""
    arguments = (f"--model={resource.spec.model.name}", "--port=8000")
    has_control = resource.spec.guard.baseline.control_replicas > 0
    off = (mode_plan(Mode.OFF, arguments=(*arguments, "--max-num-seqs=64")),) if has_control else ()
    return plan(mode_plan(resource.requested_mode, arguments=arguments), *off)


def _without_text(body: dict[str, Any]) -> dict[str, Any]:
    """A ConfigMap with the names of its files; the text of the meter is kept in one place only."""
    return body | ({"data": dict.fromkeys(body["data"], "…")} if "data" in body else {})


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_golden(case: str) -> None:
    resource = _read(case)
    options = MONITOR if case == "pod-monitor" else Options()
    objects = build(resource, _plan(resource), options)[resource.requested_mode]
    text = yaml.dump_all(
        map(_without_text, objects.all()), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True
    )
    golden = CASES / case / "expected.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_mode_has_a_case() -> None:
    requested = {_read(path.name).requested_mode for path in CASES.iterdir()}
    assert requested == {Mode.QUANTIZED_DRAFT, Mode.NGRAM, Mode.OFF}, "Draft differs from QuantizedDraft in args only"
