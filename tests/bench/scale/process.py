"""What a process costs, from /proc; Linux only."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_KIB = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Memory:
    """Of one process, in KiB."""

    rss: int
    uss: int
    """What nobody else shares: it would be free if the process ended."""


def memory(pid: int) -> Memory:
    """Now."""
    found = {name: int(size) for name, size in _KIB.findall(Path(f"/proc/{pid}/smaps_rollup").read_text())}
    return Memory(found["Rss"], found["Private_Clean"] + found["Private_Dirty"])


def cpu_seconds(pid: int) -> float:
    """Since its start, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
