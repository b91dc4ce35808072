"""The published cases, line by line. `UPDATE_GOLDEN=1 pytest tests/plan/test_golden.py` rewrites the files."""

import json
import os
from pathlib import Path

import pytest
import yaml

from specdecode.api.resource import Rejection, parse
from specdecode.cli.wire import plan_document
from specdecode.plan.make import make_plan

CASES = sorted((Path(__file__).parent.parent / "data" / "plan").iterdir())


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_plan_is_as_recorded(case: Path) -> None:
    resource = parse(yaml.safe_load((case / "resource.yaml").read_text()))
    assert not isinstance(resource, Rejection)
    plan = make_plan(resource)
    assert not isinstance(plan, Rejection)
    text = json.dumps(plan_document(resource, plan), indent=2) + "\n"
    golden = case / "plan.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
