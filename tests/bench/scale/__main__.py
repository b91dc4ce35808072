"""`python -m bench.scale [--sizes 100,1000] [--output FILE]`: what a fleet of each size costs. Some five minutes a
size; 10,000 take 8 GB of memory, most of it for the API server, etcd and Prometheus.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rehearsal.binaries import ensure

from .measure import QUICK, Pace, Sized, measured
from .report import markdown


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def _all(sizes: list[int], directory: Path, pace: Pace) -> list[Sized]:
    binaries = await asyncio.to_thread(ensure, _say)
    # Each on a plane of its own: the last contender of a size leaves marks on every resource.
    return [await measured(binaries, directory / str(count), count, pace, _say) for count in sizes]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--sizes", default="100,1000", help="numbers of deployments, by commas or blanks")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    parser.add_argument("--quick", action="store_true", help="only the operator, for seconds instead of minutes")
    chosen = parser.parse_args()
    sizes = sorted(int(size) for size in chosen.sizes.replace(",", " ").split())
    with tempfile.TemporaryDirectory(prefix="specdecode-scale-", ignore_cleanup_errors=True) as directory:
        text = markdown(asyncio.run(_all(sizes, Path(directory), QUICK if chosen.quick else Pace())))
    sys.stdout.write(text)
    if chosen.output is not None:
        chosen.output.write_text(text)


if __name__ == "__main__":
    main()
