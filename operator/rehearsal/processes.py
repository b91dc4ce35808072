"""One program as a process of the rehearsal: started, watched, stopped, killed, suspended.

A process ends with the rehearsal whatever happens to it: by `stop` in the normal case, by the kernel's parent-death
signal when the rehearsal itself is killed. Nothing here knows what the program is.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

# Runs between fork and program: asks the kernel for SIGKILL when the parent dies (PR_SET_PDEATHSIG is 1), makes sure
# that it has not died already, gives back the signals that Python ignores, and becomes the program. A `preexec_fn`
# would do the same inside a fork of a process that may have threads, which Python 3.12 warns of.
_STARTER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ProcessError(Exception):
    """A program could not be started, ended too early, or answered with failure."""


def _tied_to_us(command: Sequence[str | Path], environment: Mapping[str, str] | None) -> list[str]:
    """The command line that runs a program as a child that dies with this process.

    Raises:
        ProcessError: there is no such program.
    """
    name, *arguments = (str(word) for word in command)
    program = shutil.which(name, path=(os.environ if environment is None else environment).get("PATH"))
    if program is None:
        raise ProcessError(f"{name} cannot be started: no such program")
    words = [str(Path(program).absolute()), *arguments]
    if sys.platform != "linux":
        return words
    return [sys.executable, "-I", "-S", "-c", _STARTER, str(os.getpid()), *words]


def free_ports(count: int) -> tuple[int, ...]:
    """Different TCP ports of 127.0.0.1 that are free now; somebody may take one before it is used."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(each.getsockname()[1] for each in sockets)


class Process:
    """A program with its arguments; may be started again after it ended.

    `environment` replaces the rehearsal's own. Standard output and error are appended to `log`.
    Start it from the main thread: the kernel ties the child to the thread that forked it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.name = name
        self.command = tuple(str(word) for word in command)
        self.log = log
        self._environment = environment
        self._directory = directory
        self._log_start_bytes = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the program; raises ProcessError when it runs already or does not exist."""
        if self.is_running:
            raise ProcessError(f"{self.name} is running already")
        words = _tied_to_us(self.command, self._environment)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._log_start_bytes = os.fstat(output).st_size
            self._process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._directory,
                start_new_session=True,
            )
        finally:
            os.close(output)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def returncode(self) -> int | None:
        """Exit code of the last run, negative for a signal; None before the first start and while it runs."""
        return self._process.returncode if self._process else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def wait(self) -> int:
        """Wait for the end of the program and return its exit code."""
        if self._process is None:
            raise ProcessError(f"{self.name} was never started")
        return await self._process.wait()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """SIGTERM to the program, after the grace SIGKILL to its whole group. A program that ended is no error."""
        if self._process is None:
            return
        try:
            if self.is_running:
                self._process.terminate()
                self.resume()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), grace_seconds)
        finally:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """SIGKILL to the program and to what it started. Returns at once; `wait` tells when it is gone."""
        self._signal_group(signal.SIGKILL)

    def suspend(self) -> None:
        """SIGSTOP: the program keeps its sockets and answers nothing."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            # A group outlives its leader while a member lives; an empty one is what we want.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the current or last run wrote."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start_bytes, size - lines * 2_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


@dataclass(frozen=True)
class Answer:
    """What a program that ran to its end left behind."""

    returncode: int
    output: str
    errors: str


async def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 60.0,
) -> Answer:
    """Run a program to its end; raises ProcessError when it takes too long or does not exist."""
    process = await asyncio.create_subprocess_exec(
        *_tied_to_us(command, environment),
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            output, errors = await process.communicate(None if stdin is None else stdin.encode())
    except TimeoutError:
        raise ProcessError(f"{' '.join(map(str, command))} took longer than {timeout_seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Answer(process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace"))
