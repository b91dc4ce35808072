"""The checked-in CRD is what the types generate."""

from pathlib import Path

import yaml
from typer.testing import CliRunner

from specdecode.api.schema import custom_resource_definition
from specdecode.cli import app

CHECKED_IN = Path(__file__).parents[2] / "crds" / "specdecodedeployments.yaml"


def test_the_checked_in_crd_is_the_generated_one() -> None:
    result = CliRunner().invoke(app, ["crd"])
    assert result.exit_code == 0
    assert CHECKED_IN.read_text() == result.output, "run: specdecode crd > crds/specdecodedeployments.yaml"


def test_it_reads_back_as_the_same_object() -> None:
    assert yaml.safe_load(CHECKED_IN.read_text()) == custom_resource_definition()


def test_it_has_no_anchors() -> None:
    assert "&id" not in CHECKED_IN.read_text()
