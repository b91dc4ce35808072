"""The report folder: `report.json` and a picture per story."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rehearsal.narrator import Narrator
from rehearsal.picture import draw
from rehearsal.series import Series
from rehearsal.story import Result, Story
from rehearsal.watcher import Watcher


def entry(story: Story, result: Result, narrator: Narrator, watcher: Watcher | None) -> dict[str, Any]:
    """One story in `report.json`."""
    return {
        "name": story.name,
        "summary": story.summary,
        "passed": result.passed,
        "error": result.error,
        "seconds": round(result.seconds, 1),
        "evidence": narrator.evidence,
        "modes": [{"seconds": round(at, 1), "mode": mode} for at, mode in (watcher.mode_changes if watcher else [])],
        "decisions": [
            {"seconds": round(at, 1), "decision": decision} for at, decision in (watcher.decisions if watcher else [])
        ],
        "timeline": [asdict(moment) for moment in narrator.moments],
    }


def write_report(directory: Path, entries: list[dict[str, Any]], seconds: float) -> Path:
    """Write `report.json`; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "report.json"
    report = {
        "passed": all(story["passed"] for story in entries),
        "seconds": round(seconds, 1),
        "stories": entries,
    }
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return path


def write_picture(directory: Path, story: Story, series: Series, watcher: Watcher, seconds: float) -> Path:
    """Draw the story; returns the picture's path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{story.name}.png"
    draw(
        path,
        f"{story.name}: {story.summary}",
        series=series,
        modes=watcher.mode_changes,
        decisions=watcher.decisions,
        seconds=seconds,
    )
    return path
