"""The HTTP surface that operator, traffic and sweep use: the real engine and the simulated one answer alike.

Texts of answers differ, and so do keys that nobody reads; what is compared is what a client acts on.
"""

from typing import Any

import pytest
from contract.served import CHAT, COMPLETION, MAX_MODEL_LEN, MODEL, QUESTIONS, REFUSED, Record, Reply

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

STREAMS = [number for number, (_, body) in enumerate(QUESTIONS) if body.get("stream")]
WHOLE = [number for number, (_, body) in enumerate(QUESTIONS) if not body.get("stream")]


def is_chat(number: int) -> bool:
    return "messages" in QUESTIONS[number][1]


def question(number: int) -> str:
    _, body = QUESTIONS[number]
    kind = "a chat" if is_chat(number) else "a completion"
    return f"{kind} of {body['max_tokens']} at temperature {body['temperature']}"


# --- pages that are only read ---


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_it_is_healthy_without_a_word(path: str, served: Record) -> None:
    assert (served.quiet[path].status, served.quiet[path].body) == (200, "")


def test_it_says_its_version(served: Record) -> None:
    assert served.quiet["/version"].body == {"version": "0.32.0"}


def test_it_lists_its_model(served: Record) -> None:
    listed = served.quiet["/v1/models"].body
    (model,) = listed["data"]
    assert listed["object"] == "list"
    assert (model["id"], model["object"], model["max_model_len"]) == (MODEL, "model", MAX_MODEL_LEN)
    assert model["root"].endswith("/target")


def test_its_metrics_are_text_of_prometheus(served: Record) -> None:
    assert served.quiet["/metrics"].content_type.startswith("text/plain; version=")


# --- answers ---


def check_choice(choice: dict[str, Any], reply: Reply) -> None:
    assert choice["index"] == 0
    assert choice["finish_reason"] in {"length", "stop"}
    assert reply.status == 200


@pytest.mark.parametrize("number", WHOLE, ids=question)
def test_an_answer_in_one_piece(number: int, served: Record) -> None:
    reply, asked = served.replies[number], QUESTIONS[number][1]
    check_choice(reply.choice, reply)
    assert reply.body["object"] == ("chat.completion" if is_chat(number) else "text_completion")
    assert reply.body["model"] == MODEL
    assert isinstance(reply.choice["message"]["content"] if is_chat(number) else reply.choice["text"], str)
    assert 0 < reply.usage["completion_tokens"] <= asked["max_tokens"]
    assert reply.finish_reason == "stop" or reply.usage["completion_tokens"] == asked["max_tokens"]
    assert reply.usage["total_tokens"] == reply.usage["prompt_tokens"] + reply.usage["completion_tokens"]


@pytest.mark.parametrize("number", STREAMS, ids=question)
def test_a_streamed_answer(number: int, served: Record) -> None:
    """A piece for each step that gave tokens, then the count of tokens in a piece of its own, then the end."""
    reply = served.replies[number]
    *pieces, last = reply.events
    assert reply.content_type.startswith("text/event-stream")
    assert reply.is_done
    assert last["choices"] == []
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk" if is_chat(number) else "text_completion"}
    if is_chat(number):
        announcement, *pieces = pieces
        assert announcement["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert all("role" not in piece["choices"][0]["delta"] for piece in pieces)
    reasons = [piece["choices"][0]["finish_reason"] for piece in pieces]
    assert reasons[:-1] == [None] * (len(pieces) - 1)
    check_choice(pieces[-1]["choices"][0], reply)
    assert len(pieces) <= reply.usage["completion_tokens"], "several tokens come in one piece where a draft is accepted"


def test_more_tokens_than_are_left_are_cut_and_not_refused(served: Record) -> None:
    assert served.clamped.status == 200
    assert served.clamped.usage["total_tokens"] == MAX_MODEL_LEN


# --- refusals ---

BAD, INVALID, MISSING = "BadRequestError", "Bad Request", "NotFoundError"
SAID: dict[str, tuple[int, str, str | None, str]] = {
    "another model": (404, MISSING, "model", "The model `other` does not exist. Valid aliases: tiny."),
    "more tokens than the model takes": (
        400,
        BAD,
        "max_tokens",
        "max_tokens=5000 cannot be greater than max_model_len=512. Please request fewer output tokens.",
    ),
    "the same, streamed": (400, BAD, "max_tokens", "max_tokens=5000 cannot be greater than max_model_len=512."),
    "a prompt that is too long": (400, BAD, "input_tokens", "This model's maximum context length is 512 tokens."),
    "no tokens at all": (400, BAD, "max_tokens", "max_tokens must be at least 1, got 0."),
    "a negative temperature": (400, BAD, "temperature", "temperature must be non-negative, got -1.0."),
    "a word for a temperature": (
        400,
        INVALID,
        "body.temperature",
        "Input should be a valid number, unable to parse string as a number",
    ),
    "no prompt": (400, BAD, "prompt", "Either prompt or prompt_embeds must be provided and non-empty."),
    "no messages": (400, INVALID, "body.messages", "Field required"),
    "a list for an object": (400, INVALID, "body", "Input should be a valid dictionary or object"),
    "no JSON": (400, INVALID, "body.1", "JSON decode error"),
    "min_p while sampling": (
        400,
        BAD,
        None,
        "The min_p and logit_bias sampling parameters are not yet supported with speculative decoding.",
    ),
    "logit_bias": (400, BAD, None, "The min_p and logit_bias sampling parameters are not yet supported"),
}
"""Status, type, parameter and words of the error object."""
NO_PATH = "a path that is none"


def test_every_refusal_is_looked_at() -> None:
    assert SAID.keys() | {NO_PATH} == REFUSED.keys()
    assert {"model", "max_tokens"} <= COMPLETION.keys() & CHAT.keys()


@pytest.mark.parametrize("what", SAID)
def test_a_request_is_refused_in_the_same_words(what: str, served: Record) -> None:
    status, kind, param, words = SAID[what]
    reply = served.refused[what]
    error = reply.body["error"]
    assert (reply.status, error["code"], error["type"], error["param"]) == (status, status, kind, param)
    assert words in error["message"]


def test_a_path_that_is_none(served: Record) -> None:
    assert (served.refused[NO_PATH].status, served.refused[NO_PATH].body) == (404, {"detail": "Not Found"})
