"""Starts an engine as a child of the sweep with the command line of a plan, waits for it, and stops it again.

The command line is that of the pod; only the address is this machine's, and a directory stands for what is mounted at
/models.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import CACHE_MOUNT
from specdecode.sweep.load import EndedError

_ADDRESS = "127.0.0.1"
_MODULE = "vllm.entrypoints.openai.api_server"
_POLL_SECONDS = 0.5
_STOP_SECONDS = 30.0
_GOING_SECONDS = 3.0
"""vLLM's front end goes a moment after the process that failed."""
_LAST_BYTES = 64 * 1024
_SHOWN = 400
_ERROR = re.compile(r"(?:\b\w*(?:Error|Exception)\b|\berror): \S")
_NOT_THE_CAUSE = re.compile(r"Engine core initialization failed|\b(?:INFO|WARNING|DEBUG) \d")
"""vLLM's front end repeats that something went wrong in another process, after that one has said what; and warnings
quote errors that have not happened."""


@dataclass(frozen=True)
class Command:
    """How an engine is started on this machine."""

    name: str
    """Of the mode, for messages and for its log."""
    python: str
    arguments: tuple[str, ...]
    """Of the pod."""
    variables: Mapping[str, str]
    """In addition to our own environment."""
    start_seconds: float
    """It is given up when it does not answer within this time."""
    models: Path | None = None
    """Stands for /models; None: that path is here as well."""

    def here(self, port: int) -> list[str]:
        """The whole command line. -P: nothing in the working directory may stand for a module of vLLM's."""
        words = [_placed(self.mounted(argument), port) for argument in self.arguments]
        return [self.python, "-P", "-m", _MODULE, *words]

    def mounted(self, text: str) -> str:
        """With paths of this machine."""
        return text if self.models is None else re.sub(rf"{CACHE_MOUNT}(?=[/\"]|$)", str(self.models), text)


def _placed(argument: str, port: int) -> str:
    match argument.partition("=")[0]:
        case "--host":
            return f"--host={_ADDRESS}"
        case "--port":
            return f"--port={port}"
        case _:
            return argument


def check(command: Command) -> Problem | None:
    """Why an engine cannot be started, as far as can be known without trying."""
    if shutil.which(command.python) is None:
        return Problem("--python", command.python, "is no program; name the interpreter of an environment with vLLM")
    for argument in command.arguments:
        found = re.match(r"--model=(/.*)", argument) or re.search(r'"model":\s*"(/[^"]+)"', argument)
        if found is not None and not Path(command.mounted(found[1])).exists():
            path = command.mounted(found[1])
            message = f"does not exist on this machine; let --models-directory name what pods mount at {CACHE_MOUNT}"
            return Problem("model", path, message)
    return None


def last_words(log: str) -> str:
    """The engine's own message: the last line that names an error, else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line) and not _NOT_THE_CAUSE.search(line)]
    said = (errors or lines or ["it said nothing"])[-1]
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_ADDRESS, 0))
        port: int = free.getsockname()[1]
        return port


def _tied(words: Sequence[str]) -> list[str]:
    """Where the system can, the engine ends with us even if we are killed, and gives its GPU back."""
    tie = shutil.which("setpriv") if sys.platform == "linux" else None
    return [tie, "--pdeathsig", "KILL", "--", *words] if tie else list(words)


class StartedEngine:
    """`async with StartedEngine(command, log) as url`. Raises EndedError when it does not start."""

    def __init__(self, command: Command, log: Path) -> None:
        self._command = command
        self._log = log
        self._begins_at = 0
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        port = _free_port()
        self.url = f"http://{_ADDRESS}:{port}"
        with self._log.open("ab") as log:
            self._begins_at = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *_tied(self._command.here(port)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._command.variables},
                start_new_session=True,
            )
        try:
            await self._until_ready()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _until_ready(self) -> None:
        assert self._process is not None
        try:
            async with asyncio.timeout(self._command.start_seconds), httpx.AsyncClient(trust_env=False) as client:
                while self._process.returncode is None:
                    with suppress(httpx.HTTPError):
                        if (await client.get(f"{self.url}/health", timeout=_POLL_SECONDS * 4)).is_success:
                            return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            what = f"did not answer within {self._command.start_seconds:.0f} s"
        else:
            what = f"ended with {self._process.returncode} before it answered"
        raise EndedError(f"the engine {what}: {self.said()} (all of it in {self._log})")

    async def has_ended(self) -> bool:
        """Whether it is gone, or is going now."""
        assert self._process is not None
        try:
            async with asyncio.timeout(_GOING_SECONDS):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def said(self) -> str:
        """Its last words."""
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._begins_at, size - _LAST_BYTES))
            return last_words(log.read().decode(errors="replace"))

    async def _stop(self) -> None:
        """The whole group: vLLM's workers are processes of their own."""
        assert self._process is not None
        try:
            self._signal(signal.SIGTERM)
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
