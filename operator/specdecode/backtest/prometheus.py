"""History from a Prometheus, or anything that speaks its API: raw samples with the moments of their scrapes, hour by
hour. An answer that fails or is partial is none; nothing is judged on half a picture.
"""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from specdecode.api.resource import Problem
from specdecode.api.words import one_line, without
from specdecode.backtest.choice import MODEL_NAME, Choice
from specdecode.backtest.series import Advance, Read, line_of
from specdecode.engine.metrics import MetricNames
from specdecode.observe.credentials import Token
from specdecode.observe.queries import DEPLOYMENT, NAME, NAMESPACE
from specdecode.observe.track import Floats

FIELD = "--prometheus"

_CHUNK_SECONDS = 3600.0
_TIMEOUT_SECONDS = 60
_SHOWN = 200
_PARTIAL = b'"warnings":['
"""The client library drops warnings. A quote inside of a label is escaped: only the field itself is written so."""

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Span:
    """What is read; Unix seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start

    def chunks(self) -> Iterator[tuple[float, float]]:
        """End and length of the queries, oldest first."""
        count = math.ceil(self.seconds / _CHUNK_SECONDS)
        for number in range(count):
            begin = self.start + number * _CHUNK_SECONDS
            end = min(self.end, begin + _CHUNK_SECONDS)
            yield end, end - begin


class _RefusedError(Exception):
    """Why an answer cannot be used, in words."""


def _shown(text: str) -> str:
    return one_line(text, _SHOWN)


def _refuse_partial(response: requests.Response, *_: Any, **__: Any) -> None:
    if _PARTIAL in response.content:
        warnings = response.json().get("warnings") or ["no reason given"]
        raise _RefusedError(f"answered only in part: {_shown(str(warnings[0]))}; ask for less, or mend what is missing")


class Archive:
    """What one Prometheus remembers. Use it as a context manager."""

    def __init__(self, url: str, *, token_file: Path | None = None) -> None:
        """Raises CredentialsError when the token cannot be read."""
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # metrics are asked for where the option says, or not at all
        self._session.hooks["response"].append(_refuse_partial)
        token = None if token_file is None else Token(token_file)
        self._secrets = () if token is None else token.secrets()
        headers = {} if token is None else {"Authorization": token.header()}
        self._client = PrometheusConnect(
            self.url,
            headers=headers,
            session=self._session,
            retry=Retry(total=2, backoff_factor=0.5, status_forcelist=[502, 503, 504], raise_on_status=False),
            timeout=_TIMEOUT_SECONDS,
            method="POST",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def _asked(self, promql: str, at: float | None = None) -> Any:
        """The result of an instant query. Raises _RefusedError."""
        try:
            return self._client.custom_query(promql, {} if at is None else {"time": f"{at:.3f}"})
        except PrometheusApiClientException as error:
            raise _RefusedError(f"refused a query: {self._told(error)}") from error
        except requests.RequestException as error:
            raise _RefusedError(
                f"cannot be reached: {type(error).__name__}: {self._told(error)}; is the URL right?"
            ) from error
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise _RefusedError("answered with no JSON of its query API; is the URL right?") from error

    def _told(self, error: Exception) -> str:
        """What it says, without what it was sent."""
        return _shown(without(str(error), self._secrets))

    def now(self) -> float | Problem:
        """Its clock, in Unix seconds."""
        try:
            return float(self._asked("time()")[1])
        except (_RefusedError, ValueError, IndexError) as error:
            return Problem(FIELD, self.url, str(error))

    def engines(self, names: MetricNames, span: Span) -> tuple[Labels, ...] | Problem:
        """Labels that tell the engines apart that were scraped in a stretch of time."""
        seen = f"last_over_time({names.running}[{_duration(span.seconds)}])"
        promql = f"count by ({NAMESPACE}, {DEPLOYMENT}, {MODEL_NAME}) ({seen})"
        try:
            return tuple(series["metric"] for series in self._asked(promql, span.end))
        except _RefusedError as error:
            return Problem(FIELD, self.url, str(error))

    def read(
        self, choice: Choice, wanted: Collection[str], span: Span, advance: Advance = lambda _: None
    ) -> Read | Problem:
        """The wanted series of a choice; `advance` is told the seconds that were read."""
        selector = _selector(choice, wanted)
        found: dict[tuple[tuple[str, str], ...], list[Floats]] = defaultdict(list)
        try:
            for end, seconds in span.chunks():
                for series in self._asked(f"{selector}[{_duration(seconds)}]", end):
                    found[tuple(sorted(series["metric"].items()))].append(_pairs(series["values"]))
                advance(seconds)
        except _RefusedError as error:
            return Problem(FIELD, self.url, str(error))
        lines = []
        for labels, parts in found.items():
            pairs = np.concatenate(parts)
            lines.append(line_of(dict(labels), pairs[:, 0].copy(), pairs[:, 1].copy()))
        return Read(tuple(lines), frozenset(line.labels[NAME] for line in lines))


def _pairs(values: list[tuple[float, str]]) -> Floats:
    """Moments and values; shape (samples, 2). A value that is no number says nothing."""
    pairs = np.empty((len(values), 2))
    pairs[:, 0] = [at for at, _ in values]
    pairs[:, 1] = [float(value) for _, value in values]
    return pairs


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds * 1000)}ms"


def _selector(choice: Choice, wanted: Collection[str]) -> str:
    """Series by name and label. JSON quotes as PromQL does; metric names have nothing to escape in a pattern."""
    matchers = [f'{NAME}=~"{"|".join(sorted(wanted))}"']
    matchers += [f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in choice.matchers.items()]
    return f"{{{','.join(matchers)}}}"
