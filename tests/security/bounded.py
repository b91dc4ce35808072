"""Work on hostile input, in a child process that may take so much memory and time and no more."""

import os
import pickle
import resource
import select
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
_MIB = 1024**2
_BRAKE = 8
"""Times the stated growth: address space at which the child fails, so that a bad one does not take the machine down."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """What it answered and what that cost."""

    answer: T
    seconds: float
    """Of a core, so that a busy machine changes nothing."""
    growth_mib: float
    """Of the resident memory, at its peak."""


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _in_child(work: Callable[[], T], brake_bytes: int, pipe: int) -> None:
    try:
        most = _address_space_bytes() + brake_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        _reset_peak()
        before, began = _resident_bytes(), time.process_time()
        answer = work()
        done = Done(answer, time.process_time() - began, (_peak_bytes() - before) / _MIB)
        content = pickle.dumps(done)
    except BaseException:  # noqa: BLE001 - whatever it was, the parent tells it
        content = pickle.dumps(traceback.format_exc())
    with os.fdopen(pipe, "wb") as out:
        out.write(content)


def bounded(work: Callable[[], T], *, seconds: float, mebibytes: float) -> T:
    """The answer of `work`, which may take so many seconds of a core and grow by so much. It is ended when it takes
    four times as long by the clock.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test's servers do not matter to the child
        child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(work, int(mebibytes * _BRAKE * _MIB), writing)
        os._exit(0)
    os.close(writing)
    content = _received(reading, child, seconds)
    done = pickle.loads(content)
    assert isinstance(done, Done), done
    assert done.seconds <= seconds, f"{done.seconds:.1f} s: {done.answer!r:.200}"
    assert done.growth_mib <= mebibytes, f"{done.growth_mib:.0f} MiB: {done.answer!r:.200}"
    print(f"{done.seconds:.2f} s, {done.growth_mib:.0f} MiB")  # noqa: T201 - shown for a test that fails, and with -s
    answer: T = done.answer
    return answer


def _received(reading: int, child: int, seconds: float) -> bytes:
    content, end = b"", time.monotonic() + seconds * 4 + 20
    try:
        while select.select([reading], [], [], max(0.0, end - time.monotonic()))[0]:
            part = os.read(reading, _MIB)
            if not part:
                break
            content += part
        else:
            raise AssertionError(f"it has not ended after {seconds * 4 + 20:.0f} s")
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert content, f"the child died: signal {os.WTERMSIG(status)}, out of memory?"
    return content
