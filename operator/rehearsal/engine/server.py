"""The HTTP face of the simulated engine: vLLM's OpenAI-compatible endpoints, as far as a client of the rehearsal asks.

Replies are words without meaning; their number is what counts. Nothing here knows of time or acceptance.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rehearsal.engine.arguments import VERSION, EngineArguments
from rehearsal.engine.batch import Batch
from rehearsal.engine.behaviour import BehaviourFile
from rehearsal.engine.metrics import EngineMetrics
from rehearsal.engine.request import Asked, Request

_WORD = " token"
_CHARACTERS_PER_TOKEN = 4
_DEFAULT_MAX_TOKENS = 16
_NOT_WITH_SPECULATION = ("min_p", "logit_bias")

Json = dict[str, Any]


class RefusedError(Exception):
    """A request that vLLM answers with an error object."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def response(self) -> Response:
        """In the shape of vLLM's errors."""
        kind = "NotFoundError" if self.status == 404 else "BadRequestError"
        error = {"message": str(self), "type": kind, "param": None, "code": self.status}
        return JSONResponse({"error": error}, status_code=self.status)


class Server:
    """The endpoints over one batch."""

    def __init__(self, arguments: EngineArguments, batch: Batch, metrics: EngineMetrics, file: BehaviourFile) -> None:
        self._arguments = arguments
        self._batch = batch
        self._metrics = metrics
        self._file = file
        self._exposition = b""
        self._numbers = itertools.count(1)
        self._started_at = int(time.time())

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/completions", self._completions, methods=["POST"]),
                Route("/v1/chat/completions", self._chat_completions, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/health", _ok),
                Route("/ping", _ok, methods=["GET", "POST"]),
                Route("/version", _version),
                Route("/metrics", self._show_metrics),
            ]
        )

    async def _show_metrics(self, _: HttpRequest) -> Response:
        behaviour = self._file.at(asyncio.get_running_loop().time())
        if not (behaviour.freeze_metrics and self._exposition):
            self._exposition = self._metrics.exposition()
        return Response(self._exposition, media_type=CONTENT_TYPE_LATEST)

    async def _models(self, _: HttpRequest) -> Response:
        model = {
            "id": self._arguments.served_model_name,
            "object": "model",
            "created": self._started_at,
            "owned_by": "vllm",
            "root": self._arguments.model,
            "parent": None,
            "max_model_len": self._arguments.max_model_len,
        }
        return JSONResponse({"object": "list", "data": [model]})

    async def _completions(self, http: HttpRequest) -> Response:
        return await self._answer(http, _completion_prompt, _completion_choice)

    async def _chat_completions(self, http: HttpRequest) -> Response:
        return await self._answer(http, _chat_prompt, _chat_choice)

    async def _answer(self, http: HttpRequest, prompt_of: Any, choice_of: Any) -> Response:
        try:
            body = json.loads(await http.body())
            request = self._start(body, prompt_of(body))
        except RefusedError as error:
            return error.response()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return RefusedError(400, f"{type(error).__name__}: {error}").response()
        head = {
            "id": f"{'chatcmpl' if choice_of is _chat_choice else 'cmpl'}-{next(self._numbers)}",
            "created": int(time.time()),
            "model": self._arguments.served_model_name,
        }
        if request.asked.is_streamed:
            events = self._events(request, head, choice_of, with_usage=_wants_usage(body))
            return StreamingResponse(events, media_type="text/event-stream")
        try:
            await request.news()
        finally:
            self._batch.abort(request)
        choice = choice_of(_text(request, request.generated_tokens), request.reason, is_delta=False)
        return JSONResponse({**head, "choices": [choice], "usage": _usage(request)})

    def _start(self, body: Mapping[str, Any], prompt: str) -> Request:
        if body.get("model") not in (None, self._arguments.served_model_name):
            raise RefusedError(404, f"The model `{body['model']}` does not exist.")
        if self._arguments.speculation and any(body.get(name) for name in _NOT_WITH_SPECULATION):
            raise RefusedError(
                400, "The min_p and logit_bias sampling parameters are not yet supported with speculative decoding."
            )
        max_tokens = int(body.get("max_completion_tokens") or body.get("max_tokens") or _DEFAULT_MAX_TOKENS)
        prompt_tokens = max(1, len(prompt) // _CHARACTERS_PER_TOKEN)
        longest = self._arguments.max_model_len
        if max_tokens < 1:
            raise RefusedError(400, f"max_tokens must be at least 1, got {max_tokens}.")
        if prompt_tokens + max_tokens > longest:
            raise RefusedError(
                400,
                f"This model's maximum context length is {longest} tokens. However, you requested {max_tokens} output "
                f"tokens and your prompt contains {prompt_tokens} input tokens.",
            )
        temperature = float(body.get("temperature", 1.0))
        asked = Asked(prompt_tokens, max_tokens, temperature, body.get("seed"), bool(body.get("stream")))
        return self._batch.add(asked)

    async def _events(self, request: Request, head: Json, choice_of: Any, *, with_usage: bool) -> AsyncIterator[str]:
        sent, reason = 0, ""
        try:
            while not reason:
                reason = await request.news()
                text = _text(request, request.generated_tokens - sent)
                sent = request.generated_tokens
                yield _event({**head, "choices": [choice_of(text, reason or None, is_delta=True)]})
        finally:
            self._batch.abort(request)
        if with_usage:
            yield _event({**head, "choices": [], "usage": _usage(request)})
        yield "data: [DONE]\n\n"


async def _ok(_: HttpRequest) -> Response:
    return Response()


async def _version(_: HttpRequest) -> Response:
    return JSONResponse({"version": VERSION})


def _completion_prompt(body: Mapping[str, Any]) -> str:
    prompt = body["prompt"]
    if not isinstance(prompt, str):
        raise RefusedError(400, "the simulated engine takes one prompt, as text")
    return prompt


def _chat_prompt(body: Mapping[str, Any]) -> str:
    return "".join(str(message["content"]) for message in body["messages"])


def _completion_choice(text: str, reason: str | None, *, is_delta: bool) -> Json:  # noqa: ARG001  shape of its pair
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}


def _chat_choice(text: str, reason: str | None, *, is_delta: bool) -> Json:
    message = {"content": text} if is_delta else {"role": "assistant", "content": text}
    return {"index": 0, "delta" if is_delta else "message": message, "logprobs": None, "finish_reason": reason}


def _text(request: Request, tokens: int) -> str:
    """Nothing, if the reply ended before its length was reached."""
    return "" if request.reason == "stop" else _WORD * tokens


def _usage(request: Request) -> Json:
    return {
        "prompt_tokens": request.asked.prompt_tokens,
        "completion_tokens": request.generated_tokens,
        "total_tokens": request.used_tokens,
    }


def _wants_usage(body: Mapping[str, Any]) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


def _event(body: Json) -> str:
    return f"data: {json.dumps(body)}\n\n"
