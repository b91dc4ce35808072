"""The reasons, annotations and labels that the code can write, read from the code itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from specdecode.api import vocabulary
from specdecode.api.status import RuleOutcome
from specdecode.decide.decision import Reason
from specdecode.decide.facts import Availability
from specdecode.plan.checks import CHECKS

PACKAGE = Path(__file__).parents[2] / "operator" / "specdecode"
_WORD = re.compile(r"[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)*")
_SPEAKING = (
    "status.py",
    "notes.py",
    "act.py",
    "control.py",
    "judge.py",
    "plan/checks.py",
    "plan/workload.py",
    "api/resource.py",
)
"""Modules that write reasons as plain strings."""
_NO_REASONS = frozenset({"Event", "Warning", "Normal", "ConfigMap"})
"""Words of Kubernetes in the same modules."""


def _words(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _WORD.fullmatch(node.value):
            yield node.value


def written() -> frozenset[str]:
    """Every reason that may stand in a condition, an Event, the history, a finding or a decision."""
    plain = {word for name in _SPEAKING for word in _words((PACKAGE / name).read_text(encoding="utf-8"))}
    enumerated = {*map(str, Reason), *map(str, Availability), *map(str, RuleOutcome)}
    return frozenset((plain - _NO_REASONS) | enumerated)


def advised() -> frozenset[str]:
    """Every reason of the plan's advice."""
    found = set()
    for path in (PACKAGE / "plan").glob("advice_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Advice":
                reason = node.args[0]
                assert isinstance(reason, ast.Constant), f"{path.name}: the reason of an advice is a plain word"
                found.add(str(reason.value))
    return frozenset(found)


def refused() -> frozenset[str]:
    """Every reason for which a spec is refused."""
    found = set()
    for name in ("judge.py", "plan/workload.py", "plan/checks.py", "api/resource.py"):
        for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Rejection":
                found |= {str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)}
    return frozenset(found | {reason for reason, _ in CHECKS})


def annotations_and_labels() -> frozenset[str]:
    """Every key of ours that is read or written."""
    names = [name for name in vars(vocabulary) if name.startswith(("ANNOTATION_", "LABEL_"))]
    return frozenset(str(getattr(vocabulary, name)) for name in names)
