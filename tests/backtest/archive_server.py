"""A stand-in for Prometheus' query API with given lines; it answers what the backtest asks, and fails as it is told."""

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

from specdecode.observe.prometheus import Line

_RANGE = re.compile(r"\[([0-9]+)ms\]")
_MATCHER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


@dataclass
class Archived:
    """What it holds and how it fails."""

    lines: Sequence[Line]
    now: float
    status: int = 200
    fails_for: str = ""
    """Only queries that begin like this fail; empty: none of them succeeds."""
    body: bytes | None = None
    """What it answers instead of its own."""
    warning: str = ""
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def answer(self, query: str, at: float) -> Any:
        """The data of an instant query."""
        if query == "time()":
            return {"resultType": "scalar", "result": [self.now, str(self.now)]}
        found = _RANGE.search(query)
        assert found is not None, query
        start = at - int(found[1]) / 1000
        matchers = dict(_MATCHER.findall(query))
        result = []
        for line in self.lines:
            inside = [
                [moment, repr(value)]
                for moment, value in zip(line.at.tolist(), line.values.tolist(), strict=True)
                if start < moment <= at
            ]
            if inside and all(line.labels.get(label) == value for label, value in matchers.items()):
                result.append({"metric": dict(line.labels), "values": inside})
        if query.startswith("count"):
            running = [series for series in result if "running" in series["metric"]["__name__"]]
            return {"resultType": "vector", "result": [{**series, "value": [at, "1"]} for series in running]}
        return {"resultType": "matrix", "result": result}

    def reply(self, query: str, at: float) -> tuple[int, bytes]:
        """Status and body."""
        self.asked.append(query)
        is_told_to_fail = query.startswith(self.fails_for)
        if is_told_to_fail and self.body is not None:
            return self.status, self.body
        if is_told_to_fail and self.status != 200:
            return self.status, b'{"status":"error","error":"told to"}'
        answer = {"status": "success", "data": self.answer(query, at)}
        if is_told_to_fail and self.warning:
            answer["warnings"] = [self.warning]
        return 200, json.dumps(answer, separators=(",", ":")).encode()


@contextmanager
def serving(archived: Archived) -> Iterator[str]:
    """Its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(urlparse(self.path).query)
            archived.tokens.add(self.headers.get("Authorization", ""))
            status, body = archived.reply(form["query"][0], float(form.get("time", ["0"])[0]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
