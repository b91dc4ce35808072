"""A server that sends exactly the bytes it was told to, and goes on for as long as somebody listens."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

Reply = Callable[[bytes], Iterable[bytes]]
"""From the head of a request to the bytes of the answer."""


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer."""
    head = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers)
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def endless(piece: bytes, *headers: str) -> Iterator[bytes]:
    """An answer without an end, as fast as it is taken."""
    yield "\r\n".join(("HTTP/1.1 200 OK", "Connection: close", *headers)).encode() + b"\r\n\r\n"
    while True:
        yield piece


def trickle(body: bytes, seconds: float) -> Iterator[bytes]:
    """A whole answer, byte by byte."""
    for byte in http(body):
        yield bytes((byte,))
        time.sleep(seconds)


def _answer(connection: socket.socket, reply: Reply) -> None:
    with connection, suppress(OSError):
        connection.settimeout(30)
        request = b""
        while b"\r\n\r\n" not in request:
            part = connection.recv(65_536)
            if not part:
                return
            request += part
        for piece in reply(request):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):  # what is left of the request; closing with unread bytes would be a reset
            pass


@contextmanager
def answering(reply: Reply) -> Iterator[str]:
    """Its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.02)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    connection, _ = server.accept()
                    threading.Thread(target=_answer, args=(connection, reply), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            thread.join()
