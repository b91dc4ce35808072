"""What is asked, and in which order: prompts of the built-in kinds or of a user's file, seeds, request bodies. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from specdecode.api.resource import Problem

USERS = "prompts"
"""The kind of a user's own prompts."""
FIELD = "--prompts"

_SEEDS = 2**31
_SHOWN = 60


class Api(StrEnum):
    """Where texts are sent to; messages always go to the chat."""

    CHAT = "chat"
    COMPLETIONS = "completions"


@dataclass(frozen=True)
class Prompt:
    """One thing to ask: a text, or the messages of a chat."""

    text: str = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    is_plain: bool = False
    """The text goes to completions, whatever texts are sent to otherwise."""

    @property
    def characters(self) -> int:
        """Length of what is sent; a token has at least one byte."""
        contents = [message.get("content") for message in self.messages]
        return len(self.text) + sum(len(text) for text in contents if isinstance(text, str))


@dataclass(frozen=True)
class Kind:
    """Prompts that are alike."""

    name: str
    prompts: tuple[Prompt, ...]

    @property
    def digest(self) -> str:
        """Changes with every prompt."""
        said = [[prompt.text, prompt.messages, prompt.is_plain] for prompt in self.prompts]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Question:
    """One request as planned: the same prompt and seed at every temperature, concurrency and endpoint."""

    number: int
    """From 0; below 0 in the warm-up."""
    prompt: int
    """Its number in the kind."""
    seed: int


def seed_of(base: int, kind: str, number: int) -> int:
    """The sampling seed of a request."""
    digest = hashlib.sha256(f"{base}/{kind}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % _SEEDS


def questions(kind: Kind, base: int, numbers: range) -> Iterator[Question]:
    """Requests in their order. The prompts take turns, so that each counts alike."""
    for number in numbers:
        yield Question(number, number % len(kind.prompts), seed_of(base, kind.name, number))


@dataclass(frozen=True)
class Sampling:
    """What every request of a cell has in common."""

    model: str
    temperature: float
    max_tokens: int
    api: Api


def request_of(prompt: Prompt, question: Question, sampling: Sampling) -> tuple[str, dict[str, Any]]:
    """Path and body of a request, streamed, with exact token counts at its end."""
    body: dict[str, Any] = {
        "model": sampling.model,
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "seed": question.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prompt.messages or (sampling.api is Api.CHAT and not prompt.is_plain):
        messages = list(prompt.messages) or [{"role": "user", "content": prompt.text}]
        return "/v1/chat/completions", body | {"messages": messages}
    return "/v1/completions", body | {"prompt": prompt.text}


def _is_message(message: object) -> bool:
    return isinstance(message, Mapping) and isinstance(message.get("role"), str) and "content" in message


def _prompt(value: object) -> Prompt | str:
    """A prompt, or what is wrong with it."""
    if isinstance(value, str):
        return Prompt(value) if value else "is empty"
    if not isinstance(value, Mapping):
        return "is neither a text nor an object"
    if "messages" in value:
        messages = value["messages"]
        if isinstance(messages, Sequence) and messages and all(map(_is_message, messages)):
            return Prompt(messages=tuple(messages))
        return "has messages that are no list of objects with role and content"
    if isinstance(value.get("prompt"), str) and value["prompt"]:
        return Prompt(value["prompt"], is_plain=True)
    return "has neither a text as prompt nor messages"


def read_prompts(name: str, text: str) -> Kind | Problem:
    """The prompts of a JSONL file: on each line a text, {"prompt": …} or {"messages": […]}; other keys are left out."""
    found: list[Prompt] = []
    form = 'write "text", {"prompt": "text"} or {"messages": [{"role": "user", "content": "text"}]} on each line'
    # Not splitlines: JSON may hold other line separators inside a text.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            prompt = _prompt(json.loads(line))
        except (ValueError, RecursionError):
            prompt = "is not JSON"
        if isinstance(prompt, str):
            return Problem(FIELD, name, f"line {number} {prompt} ({line.strip()[:_SHOWN]}); {form}")
        found.append(prompt)
    return Kind(USERS, tuple(found)) if found else Problem(FIELD, name, f"holds no prompt; {form}")
