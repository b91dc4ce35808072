"""A hub on this machine: real HTTP, with the behaviours that real hubs and proxies have."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


@dataclass
class Request:
    """What a client asked."""

    path: str
    token: str | None
    range: str | None


Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Hub:
    """Its files and its moods."""

    files: dict[str, bytes]
    name: str = "own/model"
    honours_range: bool = True
    moods: dict[str, Behaviour] = field(default_factory=dict)
    """By the beginning of a path; the longest counts."""
    asked: list[Request] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = handler.path
        self.asked.append(Request(path, handler.headers.get("authorization"), handler.headers.get("range")))
        mood = max((start for start in self.moods if path.startswith(start)), key=len, default=None)
        if mood is not None:
            self.moods[mood](handler)
        elif path.startswith(f"/api/models/{self.name}/revision/"):
            listed = {"sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            send(handler, 200, json.dumps(listed).encode())
        elif path.startswith(start := f"/{self.name}/resolve/{COMMIT}/"):
            self.send_file(handler, path.removeprefix(start))
        else:
            send(handler, 404, b'{"error": "not found"}', {"X-Error-Code": "RepoNotFound"})

    def send_file(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        """One file, or its beginning."""
        text, wanted = self.files[name], handler.headers.get("range")
        if wanted is None or not self.honours_range:
            send(handler, 200, text)
            return
        last = int(wanted.removeprefix("bytes=0-"))
        part = text[: last + 1]
        send(handler, 206, part, {"Content-Range": f"bytes 0-{len(part) - 1}/{len(text)}"})

    def hang(self, handler: BaseHTTPRequestHandler) -> None:
        """Take the request and say nothing."""
        del handler
        self.stopping.wait(30)

    def drip(self, handler: BaseHTTPRequestHandler) -> None:
        """One byte now and then, so that no single read times out."""
        handler.send_response(200)
        handler.end_headers()
        while not self.stopping.is_set():
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)

    def drip_headers(self, handler: BaseHTTPRequestHandler) -> None:
        """Headers without end."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.stopping.is_set():
            handler.wfile.write(b"x: y\r\n")
            time.sleep(0.05)


def send(
    handler: BaseHTTPRequestHandler, status: int, text: bytes = b"", headers: Mapping[str, str] | None = None
) -> None:
    """A whole response."""
    handler.send_response(status)
    for key, value in (headers or {}).items():
        handler.send_header(key, value)
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def sends(status: int, text: bytes = b"", **headers: str) -> Behaviour:
    """The mood of giving one answer to everything; `x_error_code` stands for `x-error-code`."""
    return lambda handler: send(handler, status, text, {key.replace("_", "-"): value for key, value in headers.items()})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the server's
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
