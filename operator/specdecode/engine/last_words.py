"""What an engine that ended says last, without what it says around it. Pure.

vLLM starts its core in a process of its own. When that fails, the server's own last line only points to it ("See root
cause above"), and an error of pydantic ends in a link. The cause is the last line that names an error and is neither.
"""

import re

_PREFIX = re.compile(r"^\s*(?:\([\w ]+ pid=\d+\) )?(?:(?:ERROR|CRITICAL) [0-9: .-]+ \[[^\]]*\] )?")
"""Which process speaks, and the logger's own words."""
_NAMED = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b: ?\S|^[\w./-]+: error: ")
"""`ValueError: …`, `torch.OutOfMemoryError: …`, or the line of argparse."""
_POINTS_ELSEWHERE = ("See root cause above", "Worker failed with error 'Engine core", "EngineDeadError")
_VALIDATION = re.compile(r"\d+ validation errors? for \w+$")
_TYPE = re.compile(r" \[type=.*$")


def cause_of(text: str) -> str | None:
    """The line that names the cause, in the words of the engine; None where no line does."""
    lines = [_PREFIX.sub("", line) for line in text.splitlines()]
    for place in reversed(range(len(lines))):
        line = lines[place].strip()
        if not _NAMED.match(line) or any(words in line for words in _POINTS_ELSEWHERE):
            continue
        if not _VALIDATION.search(line):
            return line
        # pydantic names the field in one line and what is wrong with it in the next.
        said = [_TYPE.sub("", found).strip() for found in lines[place + 1 : place + 3]]
        return " ".join([line.rpartition(": ")[2], *(found for found in said if not found.startswith("For further"))])
    return None
