"""The picture of a plan in the README, from the command's own output: `PYTHONPATH=tests python -m bench.picture`."""

import io
import re
from dataclasses import replace
from pathlib import Path

import yaml
from rich.console import Console

from specdecode.api.resource import Rejection, parse
from specdecode.cli.tables import print_plan
from specdecode.plan.make import make_plan

ROOT = Path(__file__).parents[2]
_COLUMNS = 100
_WEB_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""A picture in a README may load nothing; the reader's own monospaced font does."""


def main() -> None:
    """Write docs/pictures/plan.svg: the requested mode of the first example, without the advice."""
    example = ROOT / "examples" / "llama-70b-h100.yaml"
    resource = parse(yaml.safe_load(example.read_text(encoding="utf-8")))
    assert not isinstance(resource, Rejection), str(resource)
    plan = make_plan(resource)
    assert not isinstance(plan, Rejection), str(plan)
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    print_plan(console, resource, replace(plan, ladder=(plan.requested,), advice=()))
    picture = console.export_svg(title=f"specdecode plan -f {example.relative_to(ROOT)}")
    (ROOT / "docs" / "pictures" / "plan.svg").write_text(_WEB_FONT.sub("", picture), encoding="utf-8")


if __name__ == "__main__":
    main()
