"""Asks a release of vLLM about command lines, through one long-lived process. See `answers` for the other side."""

import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.vllm.environment import Engine

_ANSWERS = Path(__file__).with_name("answers.py")
_ANSWER_SECONDS = 100.0
"""The first answer takes vLLM's import, and the first look at an architecture: 20 s on two busy cores."""


class NoAnswerError(Exception):
    """The engine's process ended or hangs; the message has its last words."""


@dataclass(frozen=True)
class Accepted:
    """vLLM takes the command line."""

    understood: Mapping[str, Any]
    """What its config classes made of it, by vLLM's names; empty when only the parser was asked."""


@dataclass(frozen=True)
class Refused:
    """vLLM would not start with it."""

    problem: str


@dataclass(frozen=True)
class ListedArgument:
    """One argument of the real parser."""

    is_switch: bool
    choices: tuple[str, ...]


class Asked:
    """A release of vLLM that answers. Made by `asked`."""

    def __init__(self, engine: Engine, process: "subprocess.Popen[str]", log: Path) -> None:
        self.release = engine.release
        self._process = process
        self._log = log

    def listing(self) -> dict[str, ListedArgument]:
        """Every argument by name without dashes."""
        found = self._ask({"question": "listing"})["listing"]
        return {name: ListedArgument(entry["switch"], tuple(entry["choices"])) for name, entry in found.items()}

    def speculative_keys(self) -> frozenset[str]:
        """Every key of `SpeculativeConfig` that can be given; vLLM sets some of them itself."""
        return frozenset(self._ask({"question": "listing"})["speculative_keys"])

    def parse(self, arguments: Sequence[str]) -> Accepted | Refused:
        """The parser, and each key of the speculative config by itself."""
        return _verdict(self._ask({"question": "parse", "arguments": list(arguments)}))

    def configure(self, arguments: Sequence[str]) -> Accepted | Refused:
        """Parser and every config class: needs the models' config.json in local directories."""
        return _verdict(self._ask({"question": "configure", "arguments": list(arguments)}))

    def read_model(self, folder: Path) -> Accepted | Refused:
        """What vLLM reads out of a config.json: the dimensions that decide the KV cache."""
        return _verdict(self._ask({"question": "model", "folder": str(folder)}))

    def _ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            print(json.dumps(question), file=self._process.stdin, flush=True)
            line = self._line()
        except BrokenPipeError:
            line = ""
        if not line:
            last = self._log.read_text(errors="replace")[-2_000:]
            raise NoAnswerError(f"vLLM {self.release} does not answer {question['question']}; its last words:\n{last}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _line(self) -> str:
        """The next line, or nothing when the time is over."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + _ANSWER_SECONDS
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            if not ready.select(deadline - time.monotonic()):
                return ""
        return self._process.stdout.readline()


def _verdict(answer: Mapping[str, Any]) -> Accepted | Refused:
    if answer["accepted"]:
        return Accepted(answer.get("understood", {}))
    return Refused(answer["problem"])


def offline(engine: Engine, home: Path) -> dict[str, str]:
    """The environment of an engine process: nothing of the user's own settings, no model hub, no usage statistics."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "USER": "vllm",
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        **engine.variables,
    }


@contextmanager
def asked(engine: Engine, folder: Path) -> Iterator[Asked]:
    """A release that answers while the block runs; its log and what it writes are in `folder`."""
    log = folder / f"vllm-{engine.release}.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            # -P: the script's own folder must not be on the path, its modules have names of others.
            [engine.python, "-P", _ANSWERS],
            env=offline(engine, folder) | {"VLLM_LOGGING_LEVEL": "ERROR"},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Asked(engine, process, log)
        finally:
            process.kill()
