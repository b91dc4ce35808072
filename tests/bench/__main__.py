"""`make bench`: the accuracy of the memory plan against published measurements, and its speed. It gates nothing."""

from rich.console import Console

from .report import make_report
from .speed import examples, measure
from .tables import print_report

_PLAIN_WIDTH = 150
"""Columns when nobody looks: a file or a pipe has no width of its own."""


def main() -> None:
    """Print the report."""
    report = make_report()
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    print_report(console, report, measure(report.resources + examples()))


if __name__ == "__main__":
    main()
