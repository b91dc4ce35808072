"""Which requests vLLM 0.32 refuses, and with which words; and what a request asks for that it takes.

The words, the order and the shape of the error object are those of a running 0.32.0. Whoever asks sees the same
refusals from both; only prompts in lists and of token ids, which vLLM takes, are refused here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from rehearsal.engine.arguments import EngineArguments
from rehearsal.engine.request import Asked

_CHARACTERS_PER_TOKEN = 4
_DEFAULT_MAX_TOKENS = 16
"""Of a completion; a chat goes on to the end of the context."""
_GREEDY_BELOW = 1e-5
"""Temperature below which vLLM takes the likeliest token, and forgets min_p before it looks at it."""
_KINDS = {400: "BadRequestError", 404: "NotFoundError"}

Json = dict[str, Any]


class RefusedError(Exception):
    """A request that vLLM answers with an error object."""

    def __init__(self, message: str, param: str | None = None, *, status: int = 400, kind: str = "") -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.kind = kind or _KINDS[status]

    def response(self) -> Response:
        """In the shape of vLLM's errors."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.status}
        return JSONResponse({"error": error}, status_code=self.status)


def _invalid(kind: str, where: str, message: str, given: object) -> RefusedError:
    """What pydantic makes of a body, as vLLM hands it on."""
    found = {"type": kind, "loc": where, "msg": message, "input": given}
    return RefusedError(f"1 validation error:\n  {found}", where, kind="Bad Request")


def _with_value(name: str, value: object, complaint: str) -> RefusedError:
    return RefusedError(f"{complaint} (parameter={name}, value={value})", name)


@dataclass(frozen=True)
class Body:
    """The JSON object of a request."""

    values: Mapping[str, Any]
    is_chat: bool

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with the number of tokens."""
        return bool((self.values.get("stream_options") or {}).get("include_usage"))

    def prompt(self) -> str:
        """The text to go on from."""
        if self.is_chat:
            messages = self.values.get("messages")
            if not isinstance(messages, list):
                raise _invalid("missing", "body.messages", "Field required", f"<dict of {len(self.values)} items>")
            return "".join(str(message.get("content")) for message in messages)
        prompt = self.values.get("prompt")
        if not prompt:
            raise RefusedError(
                "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)", "prompt"
            )
        if not isinstance(prompt, str):
            raise RefusedError("the simulated engine takes one prompt, as text", "prompt")
        return prompt

    def number(self, name: str, default: float) -> float:
        """A number, or the default for nothing."""
        value = self.values.get(name)
        if value is None:
            return default
        try:
            return float(value)
        except (TypeError, ValueError):
            message = "Input should be a valid number, unable to parse string as a number"
            raise _invalid("float_parsing", f"body.{name}", message, value) from None

    def max_tokens(self) -> int | None:
        """The most tokens of the answer; None: it does not say."""
        name = "max_completion_tokens" if self.values.get("max_completion_tokens") is not None else "max_tokens"
        return None if self.values.get(name) is None else int(self.number(name, 0))


def read_body(content: bytes, *, is_chat: bool) -> Body:
    """Raises RefusedError for what is no JSON object."""
    try:
        values = json.loads(content)
    except json.JSONDecodeError as error:
        raise _invalid("json_invalid", f"body.{error.pos}", "JSON decode error", "<dict of 0 items>") from None
    if not isinstance(values, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        raise _invalid("model_attributes_type", "body", message, f"<{type(values).__name__}>")
    return Body(values, is_chat)


def asked(body: Body, arguments: EngineArguments) -> Asked:
    """What to run. Raises RefusedError."""
    prompt = body.prompt()
    temperature = body.number("temperature", 1.0)
    _check_model(body, arguments.served_model_name)
    prompt_tokens = max(1, len(prompt) // _CHARACTERS_PER_TOKEN)
    max_tokens = _max_tokens(body, prompt_tokens, arguments.max_model_len)
    if temperature < 0:
        raise _with_value("temperature", temperature, f"temperature must be non-negative, got {temperature}.")
    if arguments.speculation:
        _check_with_speculation(body, temperature)
    seed = body.values.get("seed")
    return Asked(prompt_tokens, max_tokens, temperature, seed, bool(body.values.get("stream")))


def _check_model(body: Body, served: str) -> None:
    model = body.values.get("model")
    if model not in (None, served):
        raise RefusedError(f"The model `{model}` does not exist. Valid aliases: {served}.", "model", status=404)


def _max_tokens(body: Body, prompt_tokens: int, longest: int) -> int:
    """As many as were asked for and still fit."""
    given = body.max_tokens()
    if given is not None and given > longest:
        complaint = f"max_tokens={given} cannot be greater than max_model_len={longest}. "
        raise _with_value("max_tokens", given, f"{complaint}Please request fewer output tokens.")
    if prompt_tokens >= longest:
        complaint = (
            f"This model's maximum context length is {longest} tokens. However, your prompt contains {prompt_tokens} "
            "input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the "
            "input prompt."
        )
        raise _with_value("input_tokens", prompt_tokens, complaint)
    if given is not None and given < 1:
        raise _with_value("max_tokens", given, f"max_tokens must be at least 1, got {given}.")
    rest = longest - prompt_tokens
    if given is None:
        return rest if body.is_chat else min(_DEFAULT_MAX_TOKENS, rest)
    return min(given, rest)


def _check_with_speculation(body: Body, temperature: float) -> None:
    is_sampling = temperature >= _GREEDY_BELOW
    if body.values.get("logit_bias") or (is_sampling and body.number("min_p", 0.0) > _GREEDY_BELOW):
        raise RefusedError(
            "The min_p and logit_bias sampling parameters are not yet supported with speculative decoding."
        )
