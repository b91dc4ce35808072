"""Stands for the image vllm/vllm-openai on a node of the rehearsal: becomes the real vLLM, on the pod's own address.

    python -m rehearsal.vllm.launcher --python=… --models=… --scratch=… --set=NAME=VALUE -- <the pod's own arguments>

The command line is the pod's, but for two things that a container runtime would see to: the address to listen on, and
the folder that is mounted at /models. Nothing of it is added to or taken away.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearsal.vllm.environment import Engine
from rehearsal.vllm.serve import on_loopback
from specdecode.api.vocabulary import CACHE_MOUNT
from specdecode.engine.arguments import PORT

_LONGEST_SCRATCH = 60
"""Characters. vLLM's processes talk through sockets with names of 36 more, and the kernel takes 107 in all."""
_MODULE = "vllm.entrypoints.openai.api_server"
_END_OF_OWN = "--"
_NAME = "--served-model-name="
"""What clients say; it may look like a path, and is none."""


class LaunchError(Exception):
    """The engine cannot be started on this machine; the message says what is missing."""


@dataclass(frozen=True)
class Launcher:
    """Where the engine and its models are on this machine."""

    python: Path
    models: Path
    """Mounted at /models."""
    scratch: Path
    """For sockets and temporary files of all engines; its name must be short."""
    variables: Mapping[str, str]

    def program(self) -> tuple[str, ...]:
        """What a node starts in place of the image; the pod's arguments are appended."""
        return (
            *(sys.executable, "-m", "rehearsal.vllm.launcher"),
            *(f"--python={self.python}", f"--models={self.models}", f"--scratch={self.scratch}"),
            *(f"--set={name}={value}" for name, value in self.variables.items()),
            _END_OF_OWN,
        )

    def check(self) -> None:
        """Raises LaunchError when something is not there."""
        if not self.python.is_file():
            raise LaunchError(f"no engine environment: {self.python} does not exist; run `make engine`")
        if not self.models.is_dir():
            raise LaunchError(f"no models: the folder {self.models}, which stands for {CACHE_MOUNT}, does not exist")
        if len(str(self.scratch)) > _LONGEST_SCRATCH:
            raise LaunchError(
                f"{self.scratch} has {len(str(self.scratch))} characters, and vLLM's sockets allow {_LONGEST_SCRATCH}; "
                "set TMPDIR to a shorter folder"
            )

    def command(self, arguments: Sequence[str], address: str) -> list[str]:
        """The engine's command line."""
        mounted = [argument if argument.startswith(_NAME) else self._mounted(argument) for argument in arguments]
        here = on_loopback(mounted, PORT, address)
        # -P: the working directory must not be on the path.
        return [str(self.python), "-P", "-m", _MODULE, *here]

    def environment(self, pod: Mapping[str, str]) -> dict[str, str]:
        """The pod's variables, and what a small machine and many engines on it need."""
        return {
            **{name: self._mounted(value) for name, value in pod.items()},
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "VLLM_RPC_BASE_PATH": str(self.scratch),
            "VLLM_HOST_IP": "127.0.0.1",
            # Bound threads of two engines would land on the same core, and spin there.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
            "DO_NOT_TRACK": "1",
            **self.variables,
        }

    def _mounted(self, text: str) -> str:
        return text.replace(f"{CACHE_MOUNT}/", f"{self.models}/") if text != CACHE_MOUNT else str(self.models)


def launcher_of(engine: Engine, models: Path, scratch: Path) -> Launcher:
    """The launcher of a release."""
    return Launcher(engine.python, models, scratch, engine.variables)


def _read(words: Sequence[str]) -> tuple[Launcher, Sequence[str]]:
    own = list(words[: words.index(_END_OF_OWN)])
    parser = argparse.ArgumentParser(prog="rehearsal.vllm.launcher")
    for name in ("--python", "--models", "--scratch"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    found = parser.parse_args(own)
    variables = dict(_pairs(found.set))
    return Launcher(found.python, found.models, found.scratch, variables), words[len(own) + 1 :]


def _pairs(settings: Sequence[str]) -> Iterator[tuple[str, str]]:
    for setting in settings:
        name, _, value = setting.partition("=")
        yield name, value


def main(words: Sequence[str]) -> int:
    """Become the engine; returns only when that is not possible."""
    launcher, arguments = _read(words)
    try:
        launcher.check()
    except LaunchError as error:
        print(error, file=sys.stderr)
        return 1
    command = launcher.command(arguments, os.environ["REHEARSAL_POD_IP"])
    os.execve(command[0], command, launcher.environment(os.environ))  # noqa: S606 - no shell is what is wanted
    raise AssertionError("execve returns only by raising")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
