"""A network that can be cut: bytes go through, or wait. What waits arrives when it is mended, as with TCP."""

import asyncio
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import yaml

_CHUNK_BYTES = 65_536


class Relay:
    """`async with Relay("https://127.0.0.1:6443") as relay`: the same server at `relay.url`.

    It reads nothing of what passes: the certificate of the server is good for its port, too.
    """

    def __init__(self, server: str) -> None:
        self._target = urlsplit(server)
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return f"https://127.0.0.1:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Nothing arrives any more, in neither direction, and nobody is told."""
        self._is_open.clear()

    def mend(self) -> None:
        self._is_open.set()

    def kubeconfig(self, original: Path, to: Path) -> Path:
        """The same credentials, through here."""
        config = yaml.safe_load(original.read_text())
        config["clusters"][0]["cluster"]["server"] = self.url
        to.write_text(yaml.safe_dump(config))
        return to

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._is_open.wait()
        there, here = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, here))
                group.create_task(self._pump(there, writer))
        finally:
            for end in (here, writer):
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._is_open.wait()
                writer.write(chunk)
                await writer.drain()
        with suppress(OSError, RuntimeError):
            writer.write_eof() if writer.can_write_eof() else writer.close()
