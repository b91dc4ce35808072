"""Every alert says how bad it is, with numbers, and where to read on; and there it says what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dashboards.alert_cases import CASES
from dashboards.expressions import grouped_by, selectors
from dashboards.shown import series

from rehearsal.dashboards.files import ALERTS

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks.md"
PARTS = ("What it means", "Is anybody hurt", "Look here", "Do this")
SHOWN = series()


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def sections() -> dict[str, str]:
    """Text of the runbooks by heading."""
    parts = re.split(r"^## (.+)$", RUNBOOKS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


RULES = [pytest.param(rule, id=rule["alert"]) for rule in rules()]


@pytest.mark.parametrize("rule", RULES)
def test_it_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    home = "https://github.com/specdecode/specdecode-operator/blob/main/docs/runbooks.md"
    assert notes["runbook_url"] == f"{home}#{rule['alert'].lower()}"
    assert notes["summary"][-1] not in ".!", "a title, not a sentence"


@pytest.mark.parametrize("rule", RULES)
def test_it_asks_for_what_the_operator_shows(rule: dict[str, Any]) -> None:
    for selector in selectors(rule["expr"]):
        assert selector.name in SHOWN, f"nobody shows {selector.name}"
        assert selector.labels <= SHOWN[selector.name]
    kept = set()
    for labels, below in grouped_by(rule["expr"]):
        kept |= labels
        for name in below:
            assert labels <= SHOWN[name], f"{name} has no {labels - SHOWN[name]}"
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    assert used <= (kept or {"instance", "job"}), f"{used - kept} is not among the labels of the alert"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    assert [heading for heading in sections() if heading.startswith("SpecDecode")] == names


@pytest.mark.parametrize("rule", RULES)
def test_a_runbook_answers_four_questions(rule: dict[str, Any]) -> None:
    text = sections()[rule["alert"]]
    found = re.findall(r"^- \*\*(.+?)[.?]\*\*", text, flags=re.MULTILINE)
    assert tuple(found) == PARTS


def test_every_alert_is_shown_to_fire_and_to_stay_silent() -> None:
    for name in (rule["alert"] for rule in rules()):
        outcomes = {bool(case.fires) for case in CASES if case.alert == name}
        assert outcomes == {True, False}, name
