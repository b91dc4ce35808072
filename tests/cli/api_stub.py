"""An API server that knows only SpecDecodeDeployments, on a socket of its own: for what a command says when the answer
is bad. The real one answers in tests/system/test_plugin.py.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from specdecode.api.vocabulary import GROUP, PLURAL


class Api:
    """What it knows, what it refuses, and what it was asked to change."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.bodies = {(body["metadata"]["namespace"], body["metadata"]["name"]): body for body in bodies}
        self.refusals: dict[str, tuple[int, str]] = {}
        """Status and message by method, or by `LIST`."""
        self.patches: list[tuple[str, dict[str, Any]]] = []
        self.url = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        place, _, query = path.partition("?")
        parts = place.strip("/").split("/")
        name = parts[parts.index(PLURAL) + 1] if parts[-1] != PLURAL else None
        namespace = parts[4] if "namespaces" in parts else None
        kind = "LIST" if name is None else method
        if kind in self.refusals:
            status, message = self.refusals[kind]
            return status, {"message": message}
        if name is None:
            found = [each for (where, _), each in self.bodies.items() if namespace in (None, where)]
            return 200, {"metadata": {}, "items": found}
        stored = self.bodies.get((str(namespace), name))
        if stored is None:
            return 404, {"message": f'{PLURAL}.{GROUP} "{name}" not found'}
        if method == "PATCH":
            self.patches.append((query, json.loads(body)))
        return 200, stored


@contextmanager
def serving(api: Api, directory: Path, namespace: str = "serving") -> Iterator[Path]:
    """The kubeconfig of a running stub."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, document = api.answer(self.command, self.path, self.rfile.read(length))
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PATCH = _answer  # noqa: N815 - names of the standard library

        def log_message(self, *_: Any) -> None:
            """Nothing: a test is silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield kubeconfig(directory, api.url, namespace)
    finally:
        server.shutdown()
        server.server_close()


def kubeconfig(directory: Path, server: str, namespace: str) -> Path:
    """One with two contexts."""
    contexts = [
        {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}},
        {"name": "elsewhere", "context": {"cluster": "c", "user": "u", "namespace": "elsewhere"}},
    ]
    path = directory / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": contexts,
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path
