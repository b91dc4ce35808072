"""What is asked: the user's prompts, the built-in ones, seeds and bodies."""

import json
from collections import Counter

import pytest

from specdecode.api.resource import Problem
from specdecode.sweep import kinds
from specdecode.sweep.prompts import Api, Kind, Prompt, Question, Sampling, questions, read_prompts, request_of


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        pytest.param('"a"\n\n"b"', (Prompt("a"), Prompt("b")), id="texts, and empty lines between them"),
        pytest.param('{"prompt": "a", "id": 7}', (Prompt("a", is_plain=True),), id="an object with more keys"),
        pytest.param(
            '{"messages": [{"role": "user", "content": "a"}]}',
            (Prompt(messages=({"role": "user", "content": "a"},)),),
            id="a chat",
        ),
        pytest.param('\ufeff"a"\r\n', (Prompt("a"),), id="as Windows writes it"),
        pytest.param('"a\u2028b"', (Prompt("a\u2028b"),), id="a line separator inside a text"),
    ],
)
def test_prompts_of_a_file(text: str, prompts: tuple[Prompt, ...]) -> None:
    found = read_prompts("p.jsonl", text)
    assert isinstance(found, Kind)
    assert found.prompts == prompts


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param('"a"\n{"prompt"', "line 2 is not JSON", id="no JSON"),
        pytest.param("hello", "line 1 is not JSON", id="a text without quotes"),
        pytest.param('"a"\n\n7', "line 3 is neither", id="a number, after an empty line"),
        pytest.param('{"text": "a"}', "line 1 has neither", id="another key"),
        pytest.param('{"messages": []}', "no list of objects", id="an empty chat"),
        pytest.param('{"messages": [{"role": "user"}]}', "no list of objects", id="a message without content"),
        pytest.param('""', "line 1 is empty", id="an empty text"),
        pytest.param("\n \n", "holds no prompt", id="an empty file"),
        pytest.param("[" * 100_000, "line 1 is not JSON", id="too deep"),
    ],
)
def test_files_that_are_refused(text: str, sentence: str) -> None:
    found = read_prompts("p.jsonl", text)
    assert isinstance(found, Problem)
    assert sentence in found.message
    assert len(str(found)) < 400


def test_the_built_in_kinds_have_a_dozen_prompts_each_and_no_two_alike() -> None:
    found = kinds.kinds_of(kinds.NAMES)
    assert not isinstance(found, Problem)
    assert [kind.name for kind in found] == list(kinds.NAMES)
    texts = [prompt.text for kind in found for prompt in kind.prompts]
    assert min(len(kind.prompts) for kind in found) >= 12
    assert len(set(texts)) == len(texts)
    assert len({kind.digest for kind in found}) == len(found)


@pytest.mark.parametrize("names", [pytest.param(["poem"], id="unknown"), pytest.param([], id="none")])
def test_kinds_that_are_refused(names: list[str]) -> None:
    found = kinds.kinds_of(names)
    assert isinstance(found, Problem)
    assert "code, extraction, summary, chat, story" in found.message


def test_prompts_take_turns_and_every_request_has_its_own_seed() -> None:
    kind = Kind("k", tuple(Prompt(str(number)) for number in range(3)))
    asked = list(questions(kind, 0, range(-2, 9)))
    assert asked == list(questions(kind, 0, range(-2, 9))), "the same every time"
    assert Counter(question.prompt for question in asked[2:]) == {0: 3, 1: 3, 2: 3}
    assert len({question.seed for question in asked}) == len(asked)
    assert {q.seed for q in questions(kind, 1, range(9))}.isdisjoint({q.seed for q in asked})


@pytest.mark.parametrize(
    ("prompt", "api", "path", "key"),
    [
        pytest.param(Prompt("a"), Api.CHAT, "/v1/chat/completions", "messages", id="a text is a user's message"),
        pytest.param(Prompt("a"), Api.COMPLETIONS, "/v1/completions", "prompt", id="or a plain text, when asked"),
        pytest.param(Prompt("a", is_plain=True), Api.CHAT, "/v1/completions", "prompt", id="a prompt stays plain"),
        pytest.param(
            Prompt(messages=({"role": "user", "content": "a"},)),
            Api.COMPLETIONS,
            "/v1/chat/completions",
            "messages",
            id="messages are always a chat",
        ),
    ],
)
def test_the_body_of_a_request(prompt: Prompt, api: Api, path: str, key: str) -> None:
    found, body = request_of(prompt, Question(0, 0, 5), Sampling("m", 0.4, 20, api))
    assert found == path
    assert key in body
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("m", 0.4, 20, 5)
    assert body["stream_options"] == {"include_usage": True}
    json.dumps(body)
