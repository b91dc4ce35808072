"""`make bench`: the memory plan against measured engines, the predicted speed-up against measured ones, and the guard
in simulation beside three rules that others run. It gates nothing.
"""

import sys

from rich.console import Console

from .guard.size import FULL, QUICK
from .guard.tables import print_guard
from .meter import print_meter
from .report import make_report
from .speed import examples, measure
from .speedup import print_speedup
from .tables import print_report

_PLAIN_WIDTH = 180
"""Columns when nobody looks: a file or a pipe has no width of its own."""


def main() -> None:
    """Print the report. `--full`: simulate as many days and faults as the guard's promises are counted in."""
    report = make_report()
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    print_report(console, report, measure(report.resources + examples()))
    print_speedup(console)
    print_meter(console)
    print_guard(console, FULL if "--full" in sys.argv[1:] else QUICK)


if __name__ == "__main__":
    main()
