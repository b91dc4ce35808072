"""The figures as tables of Markdown: one per size, and what each deployment costs between two sizes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from .burst import Latencies, quantile
from .measure import FLOOR, NAIVE, OURS, Figures, Sized

_NONE = "-"
_CONTENDERS = (OURS, FLOOR, NAIVE)


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f} s"


def _mebibytes(kibibytes: int | None) -> str:
    return _NONE if kibibytes is None else f"{kibibytes / 1024:.0f} MiB"


def _latency(found: Latencies | None) -> str:
    if found is None:
        return _NONE
    if not found.from_acceptance:
        return f"none of {found.edits} in time"
    parts = [
        f"{1000 * quantile(found.from_acceptance, 0.5):.0f} / {1000 * quantile(found.from_acceptance, 0.99):.0f} ms",
        f"({1000 * quantile(found.from_sending, 0.5):.0f} / {1000 * quantile(found.from_sending, 0.99):.0f})",
    ]
    return " ".join(parts) + (f", {found.missed} of {found.edits} missed" if found.missed else "")


def _accepting(found: Latencies | None) -> str:
    if found is None or not found.accepting:
        return _NONE
    return f"{1000 * quantile(found.accepting, 0.5):.0f} / {1000 * quantile(found.accepting, 0.99):.0f} ms"


def _of_steady(name: str, unit: Callable[[float], str]) -> Callable[[Figures], str]:
    return lambda figures: _NONE if figures.steady is None else unit(getattr(figures.steady, name))


def _writes(found: Mapping[str, int] | None) -> str:
    if found is None:
        return _NONE
    return ", ".join(f"{number:,} x {what}" for what, number in found.items()) or "0"


def _scrape(figures: Figures) -> str:
    found = figures.scrape
    return _NONE if found is None else f"{found.size_bytes / 1e6:.1f} MB, {found.seconds:.2f} s"


def _per_tick(figures: Figures, unit: Callable[[float], str], name: str) -> str:
    steady = figures.steady
    return _NONE if steady is None or not steady.ticks else unit(getattr(steady, name))


_ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("process start until every resource was seen and judged", lambda found: _seconds(found.seen_seconds)),
    ("until the first evaluation with Prometheus was over", lambda found: _seconds(found.measured_seconds)),
    ("writes until then (audit log)", lambda found: _writes(found.writes_at_start)),
    ("writes while nothing happens", lambda found: _writes(None if found.steady is None else found.steady.writes)),
    ("RSS, steady", lambda found: _NONE if found.steady is None else _mebibytes(found.steady.memory.rss)),
    ("USS, steady", lambda found: _NONE if found.steady is None else _mebibytes(found.steady.memory.uss)),
    (
        "RSS after the bursts",
        lambda found: _mebibytes(None if found.memory_after_bursts is None else found.memory_after_bursts.rss),
    ),
    ("CPU, of one core", _of_steady("cpu_share", lambda share: f"{100 * share:.1f} %")),
    ("CPU per tick", lambda found: _per_tick(found, lambda used: f"{1000 * used:.0f} ms", "cpu_seconds_per_tick")),
    ("PromQL requests per tick", lambda found: _per_tick(found, lambda asked: f"{asked:.1f}", "queries_per_tick")),
    ("edit taken to status (edit sent to status), 8 writers, p50 / p99", lambda found: _latency(found.queued)),
    ("edit taken to status (edit sent to status), all at once, p50 / p99", lambda found: _latency(found.together)),
    ("until the API server had taken an edit, 8 writers, p50 / p99", lambda found: _accepting(found.queued)),
    ("until the API server had taken an edit, all at once, p50 / p99", lambda found: _accepting(found.together)),
    ("one scrape of /metrics", _scrape),
    ("note", lambda found: found.note or _NONE),
)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(sized: Sized) -> Iterator[str]:
    shown = [name for name in _CONTENDERS if name in sized.figures]
    yield f"### {sized.count:,} deployments"
    yield ""
    yield (
        f"{sized.series:,} series in Prometheus; a resource has {sized.bytes_each / 1024:.1f} KiB as JSON, "
        f"managedFields included; the fleet was made in {sized.populate_seconds:.0f} s."
    )
    yield ""
    yield _row(("", *shown))
    yield _row(("---", *("---:" for _ in shown)))
    for name, cell in _ROWS:
        cells = [cell(sized.figures[each]) for each in shown]
        if any(each != _NONE for each in cells):
            yield _row((name, *cells))
    yield ""


def _slope(first: Sized, last: Sized, name: str) -> str:
    before, after = first.figures.get(name), last.figures.get(name)
    if before is None or after is None or before.steady is None or after.steady is None:
        return _NONE
    growth = after.steady.memory.rss - before.steady.memory.rss
    return f"{growth / (last.count - first.count):.1f} KiB"


def _growth(sizes: Sequence[Sized]) -> Iterator[str]:
    yield "### Growth of RSS per deployment"
    yield ""
    yield _row(("between", *_CONTENDERS))
    yield _row(("---", *("---:" for _ in _CONTENDERS)))
    for first, last in pairwise(sizes):
        slopes = (_slope(first, last, name) for name in _CONTENDERS)
        yield _row((f"{first.count:,} and {last.count:,}", *slopes))
    yield ""


def markdown(sizes: Sequence[Sized]) -> str:
    """All of it."""
    lines = [line for sized in sizes for line in _table(sized)]
    if len(sizes) > 1:
        lines += _growth(sizes)
    return "\n".join(lines)
