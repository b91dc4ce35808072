"""From a Prometheus to a history: which stretch of time, whose series, and their samples."""

from pathlib import Path
from urllib.parse import urlsplit

from specdecode.api.resource import Problem
from specdecode.backtest.choice import Choice
from specdecode.backtest.history import History, history_of
from specdecode.backtest.prometheus import FIELD, Archive, Span
from specdecode.backtest.run import Asked, moment_text, unusable
from specdecode.backtest.series import EVERY_NAME
from specdecode.observe.credentials import CredentialsError

DEFAULT_RANGE_SECONDS = 86_400.0
TOKEN_FIELD = "--prometheus-token-file"  # noqa: S105 - the name of an option


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return url.replace(parts.netloc, f"…@{parts.netloc.rpartition('@')[2]}")


def _span(archive: Archive, asked: Asked) -> Span | Problem:
    """What to read of a Prometheus; by its own clock where no end is given."""
    now = archive.now() if asked.end is None else asked.end
    if isinstance(now, Problem):
        return now
    start = now - DEFAULT_RANGE_SECONDS if asked.start is None else asked.start
    if start >= now:
        return Problem("--start", moment_text(start), f"must lie before the end, {moment_text(now)}")
    return Span(start, now)


def _choice(archive: Archive, asked: Asked, span: Span) -> Choice | Problem:
    engines = archive.engines(asked.names, span)
    if isinstance(engines, Problem):
        return engines
    if not engines:
        what = f"has no {asked.names.running} from {moment_text(span.start)} to {moment_text(span.end)}"
        return Problem(FIELD, archive.url, f"{what}: choose another --start and --end, or look at what it scrapes")
    return asked.choice(engines)


def from_prometheus(url: str, asked: Asked, *, token_file: Path | None = None) -> History | Problem:
    """The history that a Prometheus remembers."""
    if "@" in urlsplit(url).netloc:
        return Problem(FIELD, _without_credentials(url), "holds credentials; put a token into a file: " + TOKEN_FIELD)
    try:
        connected = Archive(url, token_file=token_file)
    except CredentialsError as error:
        return Problem(TOKEN_FIELD, str(token_file), f"cannot be used: {error}")
    with connected as archive:
        span = _span(archive, asked)
        if isinstance(span, Problem):
            return span
        choice = _choice(archive, asked, span)
        if isinstance(choice, Problem):
            return choice
        read = archive.read(choice, EVERY_NAME, span, lambda more: asked.advance("reading", more, span.seconds))
    if isinstance(read, Problem):
        return read
    wrong = unusable(asked, read, (FIELD, url))
    return wrong or history_of(read.lines, choice, asked.resource, asked.version, asked.step_seconds)
