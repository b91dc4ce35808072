"""History from a file: OpenMetrics text with timestamps, as `promtool tsdb dump-openmetrics` writes it, or the older
text format with milliseconds.

A month of one engine is millions of lines, and nearly all of them repeat the labels of the line before. Such a run is
cut out in one piece and its numbers are read by numpy; a file in which the series alternate is read line by line.
"""

import re
import warnings
from collections.abc import Collection, Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np

from specdecode.api.resource import Problem
from specdecode.backtest.series import Advance, Read, ascending, line_of
from specdecode.observe.prometheus import Line
from specdecode.observe.queries import NAME
from specdecode.observe.track import Floats

FIELD = "--openmetrics"

_CHUNK_BYTES = 8 * 1024**2
_FIRST_WINDOW_BYTES = 16 * 1024
_MILLISECONDS = 1e11
"""Later than the year 5000 in seconds, before 1974 in milliseconds."""

_SAMPLE = re.compile(rb"([a-zA-Z_:][a-zA-Z0-9_:]*)?(\{.*\})? +(\S+)(?: +(\S+))? *")
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|[Ii]nf|[Nn]a[Nn])")
_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}

_DUMP = "dump the history with promtool tsdb dump-openmetrics"


class _BadLineError(Exception):
    """A line that cannot be read."""

    def __init__(self, line: bytes) -> None:
        super().__init__()
        self.line = line


def _unescaped(text: bytes) -> str:
    return re.sub(r'\\[n"\\]', lambda found: _ESCAPED[found[0]], text.decode(errors="replace"))


def _labels(series: bytes) -> dict[str, str]:
    """Labels of a series as written, its name among them."""
    name, _, rest = series.partition(b"{")
    labels = {key.decode(): _unescaped(value) for key, value in _LABEL.findall(rest)}
    return {NAME: name.decode().strip(), **labels} if name.strip() else labels


class _Points:
    """The samples of one series, in the order of the file."""

    def __init__(self, series: bytes) -> None:
        self.labels = _labels(series)
        self.singles: list[float] = []
        """Value and moment, one after the other; not yet in `parts`."""
        self._parts: list[Floats] = []

    def add(self, pairs: Floats) -> None:
        self._flush()
        self._parts.append(pairs)

    def _flush(self) -> None:
        if self.singles:
            self._parts.append(np.array(self.singles).reshape(-1, 2))
            self.singles = []

    def whole(self) -> Floats:
        """All samples: value and moment; shape (samples, 2)."""
        self._flush()
        return self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)


def _head(line: bytes) -> bytes:
    """The series of a line with the blank behind it. Raises _BadLineError for what is no sample with a moment."""
    found = _SAMPLE.fullmatch(line.partition(b" # ")[0])
    if found is None or found[4] is None or not (found[1] or found[2]):
        raise _BadLineError(line)
    return line[: found.start(3)]


class _Text:
    """The file so far."""

    def __init__(self, wanted: Collection[str]) -> None:
        self.points: dict[bytes, _Points | None] = {}
        """By series as written; None: not wanted."""
        self.names: set[str] = set()
        self._wanted = wanted
        self._alternates = False

    def _points_of(self, head: bytes) -> _Points | None:
        if head not in self.points:
            points = _Points(head)
            name = points.labels.get(NAME, "")
            self.names.add(name)
            self.points[head] = points if name in self._wanted else None
        return self.points[head]

    def take(self, data: bytes) -> None:
        """Whole lines."""
        place = 0
        while place < len(data) and not self._alternates:
            end = data.index(b"\n", place) + 1
            line = data[place : end - 1].rstrip()
            if line and not line.startswith(b"#"):
                head = _head(line)
                end = _end_of_run(data, place, end, head)
                lines = data[place : end - 1].split(b"\n")
                if data.count(b"\n" + head, place, end) + 1 != len(lines) or b" # " in line:
                    self._alternates = True
                    break
                points = self._points_of(head)
                if points is not None:
                    points.add(_pairs(lines, len(head)))
            place = end
        if self._alternates:
            self._take_lines(data[place:])

    def _take_lines(self, data: bytes) -> None:
        for line in data.split(b"\n"):
            if not line or line.startswith(b"#") or not line.strip():
                continue
            sample = line.partition(b" # ")[0] if b" # " in line else line
            series, _, at = sample.rstrip().rpartition(b" ")
            series, _, value = series.rpartition(b" ")
            head = series + b" "
            if head not in self.points:
                head = _head(line)
            points = self._points_of(head)
            if points is not None:
                try:
                    points.singles += (float(value), float(at))
                except ValueError:
                    raise _BadLineError(line) from None


def _end_of_run(data: bytes, place: int, end: int, head: bytes) -> int:
    """Where the last of the lines ends that begin with `head`; windows grow, so that a short run costs little."""
    needle, size = b"\n" + head, _FIRST_WINDOW_BYTES
    while True:
        stop = min(len(data), place + size)
        last = data.rfind(needle, place, stop)
        run_end = end if last < 0 else data.index(b"\n", last + 1) + 1
        # A whole line behind the run, or nothing at all, shows that it is over.
        if stop == len(data) or data.find(b"\n", run_end, stop) >= 0:
            return run_end
        size *= 4


def _numbers(texts: list[bytes]) -> Floats:
    """All numbers of some texts; those before the first that is none, or nothing."""
    with warnings.catch_warnings():
        # numpy warned of such an end before it raised.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(b"\n".join(texts), sep=" ")
        except (ValueError, DeprecationWarning):
            return np.empty(0)


def _pairs(lines: list[bytes], head_bytes: int) -> Floats:
    """Value and moment of lines with the same head; shape (lines, 2). Raises _BadLineError."""
    numbers = _numbers([line[head_bytes:] for line in lines])
    if len(numbers) == 2 * len(lines):
        return numbers.reshape(-1, 2)
    raise _BadLineError(next((line for line in lines if not _is_pair(line[head_bytes:])), lines[0]))


def _is_pair(text: bytes) -> bool:
    """Whether a value and a moment are all there is."""
    numbers = text.split()
    return len(numbers) == 2 and all(_NUMBER.fullmatch(number) for number in numbers)


def _chunks(path: Path, advance: Advance) -> Iterator[bytes]:
    """The file in pieces that end where a line ends."""
    size = path.stat().st_size
    if size == 0:
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as text:
        place = 0
        while place < size:
            stop = min(size, place + _CHUNK_BYTES)
            end = text.rfind(b"\n", place, stop) + 1 or text.find(b"\n", stop) + 1 or size
            advance(end - place)
            piece = text[place:end]
            yield piece if piece.endswith(b"\n") else piece + b"\n"
            place = end


def _line_number(path: Path, line: bytes) -> int:
    with path.open("rb") as file:
        return next((number for number, found in enumerate(file, start=1) if found.rstrip(b"\n") == line), 0)


def _bad_line(path: Path, line: bytes) -> Problem:
    shown = line[:120].decode(errors="replace")
    where = f"line {_line_number(path, line)}"
    found = _SAMPLE.fullmatch(line.partition(b" # ")[0])
    if found is not None and found[4] is None and (found[1] or found[2]) and _NUMBER.fullmatch(found[3]):
        message = f"{where} has no timestamp ({shown}): a page of /metrics is one moment and no history; {_DUMP}"
    else:
        message = f"{where} is no sample of OpenMetrics ({shown}); {_DUMP}"
    return Problem(FIELD, str(path), message)


def _lines(path: Path, text: _Text) -> tuple[Line, ...] | Problem:
    found: list[tuple[dict[str, str], Floats]] = []
    units: dict[bool, str] = {}
    for series, points in text.points.items():
        if points is None:
            continue
        pairs = points.whole()
        at, shown = pairs[:, 1], series.decode(errors="replace").strip()
        if not np.isfinite(at).all():
            return Problem(FIELD, str(path), f"a sample of {shown} has a moment that is no number; {_DUMP}")
        for is_milliseconds in {bool(at.min() >= _MILLISECONDS), bool(at.max() >= _MILLISECONDS)}:
            units.setdefault(is_milliseconds, shown)
        if len(units) == 2:
            message = f"timestamps are seconds in {units[False]} and milliseconds in {units[True]}; write one unit"
            return Problem(FIELD, str(path), message)
        back = ascending(at)
        if back is not None:
            message = (
                f"the clock goes back in {shown}: sample {back + 1} is of {at[back]:.3f}, the one before it of "
                f"{at[back - 1]:.3f}; sort the samples of each series by time, or {_DUMP}"
            )
            return Problem(FIELD, str(path), message)
        found.append((points.labels, pairs))
    scale = 1000.0 if True in units else 1.0
    return tuple(line_of(labels, pairs[:, 1] / scale, pairs[:, 0].copy()) for labels, pairs in found)


def read_openmetrics(path: Path, wanted: Collection[str], advance: Advance = lambda _: None) -> Read | Problem:
    """The wanted series of a file; `advance` is told the bytes that were read."""
    text = _Text(wanted)
    try:
        for data in _chunks(path, advance):
            text.take(data)
    except OSError as error:
        return Problem(FIELD, str(path), f"cannot be read: {error.strerror or error}; name an existing file")
    except _BadLineError as error:
        return _bad_line(path, error.line)
    if not text.points:
        return Problem(FIELD, str(path), f"holds no sample; {_DUMP}")
    lines = _lines(path, text)
    return lines if isinstance(lines, Problem) else Read(lines, frozenset(text.names))
