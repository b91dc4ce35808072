"""From the words of `specdecode sweep` to what they ask for; or to what is wrong with them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from specdecode.api.resource import Problem
from specdecode.sweep import kinds, options
from specdecode.sweep.endpoint import check_url
from specdecode.sweep.journal import BASELINE, MAIN, read_baseline
from specdecode.sweep.options import Grid
from specdecode.sweep.prompts import FIELD as PROMPTS
from specdecode.sweep.prompts import Api, Kind, read_prompts
from specdecode.sweep.targets import Address
from specdecode.sweep.types import Sweep
from specdecode.sweep.variants import MODES_FIELD, NUMBERS_FIELD, read_modes

_MAX_PROMPTS_BYTES = 100 * 1024**2


@dataclass(frozen=True)
class Words:
    """Options of the grid as written."""

    kind: str | None
    prompts: Path | None
    temperature: str
    concurrency: str
    requests: int
    max_tokens: int
    warm_up: int
    seed: int
    timeout: float
    api: Api


@dataclass(frozen=True)
class Endpoints:
    """Endpoints that run already, and a saved baseline."""

    addresses: tuple[Address, ...]
    saved: Sweep | None = None
    asked: Mapping[str, str] = field(default_factory=dict)
    """By option, for the journal."""


def _users_prompts(path: Path) -> Kind | Problem:
    try:
        if path.stat().st_size > _MAX_PROMPTS_BYTES:
            return Problem(
                PROMPTS, str(path), f"is larger than {_MAX_PROMPTS_BYTES // 1024**2} MB; take a sample of it"
            )
        return read_prompts(str(path), path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        return Problem(PROMPTS, str(path), f"is not UTF-8 text (byte {error.start}); name a JSONL file")
    except OSError as error:
        return Problem(PROMPTS, str(path), f"cannot be read: {error.strerror or error}; name a JSONL file")


def _kinds(kind: str | None, prompts: Path | None) -> tuple[Kind, ...] | Problem:
    if kind is not None and prompts is not None:
        return Problem("--kind and --prompts", "", "are both given; leave one out")
    if prompts is not None:
        found = _users_prompts(prompts)
        return found if isinstance(found, Problem) else (found,)
    names = kinds.NAMES if kind is None else [name.strip() for name in kind.split(",") if name.strip()]
    return kinds.kinds_of(names)


def grid_of(words: Words) -> Grid | tuple[Problem, ...]:
    """The grid, or everything that is wrong with it."""
    chosen = _kinds(words.kind, words.prompts)
    temperatures = options.read_numbers("--temperature", words.temperature, 0, options.MAX_TEMPERATURE)
    concurrencies = options.read_whole_numbers("--concurrency", words.concurrency, 1, options.MAX_CONCURRENCY)
    ranges = (
        options.check_range("--requests", words.requests, 1, options.MAX_REQUESTS),
        options.check_range("--max-tokens", words.max_tokens, options.MIN_TOKENS, options.MAX_TOKENS),
        options.check_range("--warm-up", words.warm_up, 0, options.MAX_REQUESTS),
        options.check_range("--timeout", words.timeout, 1, options.MAX_SECONDS),
    )
    found = (chosen, temperatures, concurrencies, *ranges)
    problems = tuple(each for each in found if isinstance(each, Problem))
    if problems:
        return problems
    assert not isinstance(chosen, Problem)
    assert not isinstance(temperatures, Problem)
    assert not isinstance(concurrencies, Problem)
    return Grid(
        kinds=chosen,
        temperatures=temperatures,
        concurrencies=concurrencies,
        requests=words.requests,
        max_tokens=words.max_tokens,
        warm_up=words.warm_up,
        seed=words.seed,
        timeout_seconds=words.timeout,
        api=words.api,
    )


def key_of(variable: str | None) -> str | Problem:
    """The API key. A user who gives the key itself does not read it in our message."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        # An HTTP library would refuse it with the key in its message.
        return Problem("--api-key-env", "", "names a variable that holds more than one line, or no key")
    return key or Problem("--api-key-env", "", "names no variable that is set; give the variable's name, not the key")


def numbers_of(text: str | None) -> tuple[int, ...] | Problem:
    """Numbers of speculative tokens; none: as the engine or the file has them."""
    if text is None:
        return ()
    return options.read_whole_numbers(NUMBERS_FIELD, text, 1, options.MAX_SPECULATIVE_TOKENS)


def _single(option: str, values: Sequence[object]) -> Problem | None:
    if len(values) < 2:
        return None
    return Problem(option, ",".join(map(str, values)), "an endpoint that runs has one; several need -f FILE --start")


def endpoints_of(
    url: str,
    grid: Grid,
    *,
    baseline: str | None,
    key: str,
    metrics_url: str,
    model: str,
    modes: str | None,
    numbers: str | None,
) -> Endpoints | Problem:
    """Which endpoints to ask; or why that cannot be."""
    told_modes, told_numbers = read_modes(modes), numbers_of(numbers)
    address, metrics = check_url("URL", url), _checked("--metrics-url", metrics_url)
    for each in (told_modes, told_numbers, address, metrics):
        if isinstance(each, Problem):
            return each
    assert not isinstance(told_modes, Problem)
    assert not isinstance(told_numbers, Problem)
    assert isinstance(address, str)
    several = _single(MODES_FIELD, told_modes) or _single(NUMBERS_FIELD, told_numbers)
    if several is not None:
        return several
    main = Address(
        MAIN,
        address,
        key=key,
        metrics_url=metrics_url,
        model=model,
        mode=str(told_modes[0]) if told_modes else "",
        num_speculative_tokens=told_numbers[0] if told_numbers else 0,
        timeout_seconds=grid.timeout_seconds,
    )
    return _with_baseline(main, baseline, grid)


def _checked(option: str, url: str) -> str | Problem:
    return check_url(option, url) if url else ""


def _with_baseline(main: Address, baseline: str | None, grid: Grid) -> Endpoints | Problem:
    if baseline is None:
        return Endpoints((main,))
    if "://" in baseline:
        url = check_url("--baseline", baseline)
        if isinstance(url, Problem):
            return url
        if url == main.url:
            return Problem("--baseline", url, "is the endpoint itself; name one without speculation, or a saved run")
        other = Address(
            BASELINE,
            url,
            field="--baseline",
            key=main.key,
            timeout_seconds=main.timeout_seconds,
        )
        return Endpoints((main, other))
    saved = read_baseline("--baseline", Path(baseline))
    if isinstance(saved, Problem):
        return saved
    wrong = options.comparable("--baseline", baseline, saved.asked, grid)
    return wrong or Endpoints((main,), saved, {"baseline": baseline})
