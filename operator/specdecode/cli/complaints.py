"""How input that is wrong is told: one block on standard error, with field, value, limit and way out."""

from collections.abc import Iterable

from rich.markup import escape

from specdecode.api.resource import Problem
from specdecode.cli.console import Screen

INVALID = 2
"""Exit code for input that cannot be used."""

DOES_NOT_FIT = 1
"""Exit code for a plan that does not fit."""


def complain(title: str, problems: Iterable[Problem]) -> None:
    """Print every problem of one input."""
    console = Screen(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(title)}")
    for problem in problems:
        found = f" is {problem.value}" if problem.value else ""
        console.print(f"  [bold]{escape(problem.field)}[/]{escape(found)}")
        console.print(f"    {escape(problem.message)}")
