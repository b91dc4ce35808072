"""`python -m bench.guard [--full]`: only the simulation of the guard."""

import sys

from rich.console import Console

from .size import FULL, QUICK
from .tables import print_guard


def main() -> None:
    """Print the tables."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    print_guard(console, FULL if "--full" in sys.argv[1:] else QUICK)


if __name__ == "__main__":
    main()
