"""Which file holds which dashboard."""

import json
from collections.abc import Mapping
from pathlib import Path

from rehearsal.dashboards.deployment import deployment
from rehearsal.dashboards.fleet import fleet

CHART = Path(__file__).parents[3] / "charts" / "specdecode-operator"
FOLDER = CHART / "dashboards"
ALERTS = CHART / "alerts" / "specdecode.yaml"


def files() -> Mapping[str, str]:
    """Name -> text."""
    made = {"fleet.json": fleet(), "deployment.json": deployment()}
    return {name: json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n" for name, dashboard in made.items()}
