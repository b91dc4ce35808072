"""The HTTP face of the simulated engine: vLLM's OpenAI-compatible endpoints, as far as a client of the rehearsal asks.

Replies are words without meaning; their number is what counts. Nothing here knows of time or acceptance.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rehearsal.engine.arguments import VERSION, EngineArguments
from rehearsal.engine.batch import Batch
from rehearsal.engine.behaviour import BehaviourFile
from rehearsal.engine.metrics import EngineMetrics
from rehearsal.engine.refusals import Body, RefusedError, asked, read_body
from rehearsal.engine.request import Request

_WORD = " token"

Json = dict[str, Any]


class Server:
    """The endpoints over one batch."""

    def __init__(
        self,
        arguments: EngineArguments,
        batch: Batch,
        metrics: EngineMetrics,
        file: BehaviourFile,
        beside: CollectorRegistry | None = None,
    ) -> None:
        self._beside = beside
        """What a middleware counts, shown on the same page."""
        self._arguments = arguments
        self._batch = batch
        self._metrics = metrics
        self._file = file
        self._exposition = b""
        self._numbers = itertools.count(1)
        self._started_at = int(time.time())

    def application(self) -> Starlette:
        """The ASGI application."""
        application = Starlette(
            routes=[
                Route("/v1/completions", self._completions, methods=["POST"]),
                Route("/v1/chat/completions", self._chat_completions, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/health", _ok),
                Route("/ping", _ok, methods=["GET", "POST"]),
                Route("/version", _version),
                Route("/metrics", self._show_metrics),
            ],
            exception_handlers={HTTPException: _not_found},
        )
        # Where vLLM keeps the default temperature of its model; this one names none.
        for name in ("openai_serving_completion", "openai_serving_chat"):
            setattr(application.state, name, SimpleNamespace(default_sampling_params={}))
        return application

    async def _show_metrics(self, _: HttpRequest) -> Response:
        behaviour = self._file.at(asyncio.get_running_loop().time())
        if not (behaviour.freeze_metrics and self._exposition):
            self._exposition = self._metrics.exposition() + (generate_latest(self._beside) if self._beside else b"")
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
        return await self._answer(http, is_chat=False)

    async def _chat_completions(self, http: HttpRequest) -> Response:
        return await self._answer(http, is_chat=True)

    async def _answer(self, http: HttpRequest, *, is_chat: bool) -> Response:
        try:
            body = read_body(await http.body(), is_chat=is_chat)
            request = self._batch.add(asked(body, self._arguments))
        except RefusedError as error:
            return error.response()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return RefusedError(f"{type(error).__name__}: {error}").response()
        head = {
            "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{next(self._numbers)}",
            "object": _object(is_chat=is_chat, is_streamed=request.asked.is_streamed),
            "created": int(time.time()),
            "model": self._arguments.served_model_name,
        }
        if request.asked.is_streamed:
            return StreamingResponse(self._events(request, head, body), media_type="text/event-stream")
        try:
            await request.news()
        finally:
            self._batch.abort(request)
        text, choice_of = _text(request, request.generated_tokens), _chat_choice if is_chat else _choice
        answer = {**head, "choices": [choice_of(text, request.reason)], "usage": _usage(request)}
        return JSONResponse({**answer, **self._statistics(request)})

    async def _events(self, request: Request, head: Json, body: Body) -> AsyncIterator[str]:
        """A piece for each step; a chat says before the first who speaks."""
        sent, reason = 0, ""
        choice_of = _chat_delta if body.is_chat else _choice
        try:
            while not reason:
                reason = await request.news()
                if body.is_chat and not sent:
                    yield _event({**head, "choices": [_announcement()]})
                text = _text(request, request.generated_tokens - sent)
                sent = request.generated_tokens
                yield _event({**head, "choices": [choice_of(text, reason or None)]})
        finally:
            self._batch.abort(request)
        if body.wants_usage:
            yield _event({**head, "choices": [], "usage": _usage(request), **self._statistics(request)})
        yield "data: [DONE]\n\n"

    def _statistics(self, request: Request) -> Json:
        """What vLLM says of one request with `--per-request-spec-decode-metrics`, as far as the meter reads it."""
        if not self._arguments.tells_acceptance or self._arguments.speculation is None:
            return {}
        said = {"num_draft_tokens": request.draft_tokens, "num_accepted_draft_tokens": request.accepted_tokens}
        return {"metrics": {"speculative_decoding": said}}


async def _ok(_: HttpRequest) -> Response:
    return Response()


async def _not_found(_: HttpRequest, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, status_code=error.status_code)


async def _version(_: HttpRequest) -> Response:
    return JSONResponse({"version": VERSION})


def _object(*, is_chat: bool, is_streamed: bool) -> str:
    if not is_chat:
        return "text_completion"
    return "chat.completion.chunk" if is_streamed else "chat.completion"


def _choice(text: str, reason: str | None) -> Json:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}


def _chat_choice(text: str, reason: str | None) -> Json:
    message = {"role": "assistant", "content": text}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}


def _chat_delta(text: str, reason: str | None) -> Json:
    return {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": reason}


def _announcement() -> Json:
    return {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}


def _text(request: Request, tokens: int) -> str:
    """Nothing, if the reply ended before its length was reached."""
    return "" if request.reason == "stop" else _WORD * tokens


def _usage(request: Request) -> Json:
    return {
        "prompt_tokens": request.asked.prompt_tokens,
        "completion_tokens": request.generated_tokens,
        "total_tokens": request.used_tokens,
    }


def _event(body: Json) -> str:
    return f"data: {json.dumps(body)}\n\n"
