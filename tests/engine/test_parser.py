"""What the parser of each release takes, and which extra arguments are let through."""

import pytest

from specdecode.api.spec import ExtraArgument
from specdecode.engine.parser import Takes, choice_problem, extra_argument_problem, known_arguments, speculative_keys
from specdecode.engine.version import EngineVersion

parse = EngineVersion.parse
V032 = EngineVersion(0, 32)


@pytest.mark.parametrize(
    ("argument", "field", "sentence"),
    [
        pytest.param({"name": "enable-prefix-caching"}, "", None, id="a switch"),
        pytest.param({"name": "no-enable-prefix-caching"}, "", None, id="its negation"),
        pytest.param({"name": "tool-call-parser", "value": "hermes"}, "", None, id="an argument of the server"),
        pytest.param({"name": "scheduling-policy", "value": "priority"}, "", None, id="one of the choices"),
        pytest.param(
            {"name": "enable-prefix-cachin"}, "", "did you mean enable-prefix-caching?", id="a typo is not completed"
        ),
        pytest.param({"name": "zzz-qqq"}, "", "has no argument --zzz-qqq; remove it", id="nothing like it"),
        pytest.param(
            {"name": "enable-prefix-caching", "value": "true"}, ".value", "is a switch", id="a switch takes no value"
        ),
        pytest.param({"name": "seed"}, ".value", "needs a value", id="a value is missing"),
        pytest.param(
            {"name": "scheduling-policy", "value": "fair"}, ".value", "one of fcfs, priority", id="no such choice"
        ),
    ],
)
def test_extra_arguments_must_exist(argument: dict[str, str], field: str, sentence: str | None) -> None:
    problem = extra_argument_problem(V032, ExtraArgument.model_validate(argument))
    assert (problem is None) is (sentence is None)
    if problem is not None:
        assert problem.field == f"spec.engine.extraArgs[name={argument['name']}]{field}"
        assert sentence is not None
        assert sentence in problem.message


@pytest.mark.parametrize(
    ("version", "argument", "sentence"),
    [
        pytest.param("0.8.4", {"name": "enable-chunked-prefill", "value": "false"}, None, id="a switch with a value"),
        pytest.param("0.8.4", {"name": "enable-chunked-prefill"}, None, id="the same without"),
        pytest.param(
            "0.8.5", {"name": "enable-chunked-prefill", "value": "false"}, "is a switch", id="without a value since"
        ),
        pytest.param(
            "0.32.0", {"name": "guided-decoding-backend", "value": "x"}, "has no argument", id="an argument that went"
        ),
        pytest.param("0.9.2", {"name": "guided-decoding-backend", "value": "x"}, "one of auto", id="when it was there"),
        pytest.param("0.33.0", {"name": "no-enable-prefix-caching"}, None, id="the old word for no in 0.33"),
        pytest.param("0.32.0", {"name": "disable-prefix-caching"}, "has no argument", id="the new word before"),
        pytest.param("0.33.0", {"name": "disable-prefix-caching"}, None, id="the word for no in 0.33"),
    ],
)
def test_arguments_by_release(version: str, argument: dict[str, str], sentence: str | None) -> None:
    problem = extra_argument_problem(parse(version), ExtraArgument.model_validate(argument))
    assert (problem is None) is (sentence is None)
    assert problem is None or (sentence is not None and sentence in problem.message)


@pytest.mark.parametrize(
    ("version", "count"),
    [
        pytest.param("0.6.0", 107, id="0.6.0"),
        pytest.param("0.8.1", 144, id="0.8.1"),
        pytest.param("0.32.0", 405, id="0.32.0"),
    ],
)
def test_the_lists_are_whole(version: str, count: int) -> None:
    assert len(known_arguments(parse(version))) == count


def test_a_release_that_was_not_read_has_the_list_before_it() -> None:
    assert known_arguments(parse("0.15.1")) == known_arguments(parse("0.14.1"))
    assert known_arguments(parse("0.33.4")) == known_arguments(parse("0.33.0"))


def test_what_an_argument_takes() -> None:
    known = known_arguments(parse("0.8.4"))
    assert known["enforce-eager"].takes is Takes.NONE
    assert known["enable-chunked-prefill"].takes is Takes.OPTIONAL
    assert known["seed"].takes is Takes.ONE


@pytest.mark.parametrize(
    ("key", "first", "last"),
    [
        pytest.param("disable_by_batch_size", "0.8.2", "0.16.0", id="the old batch limit"),
        pytest.param("num_speculative_tokens_per_batch_size", "0.24.0", "0.33.0", id="the new batch limit"),
        pytest.param("posterior_threshold", "0.8.2", "0.9.2", id="typical acceptance"),
        pytest.param("kv_cache_dtype", "0.26.0", "0.33.0", id="the draft's cache type"),
        pytest.param("method", "0.8.2", "0.33.0", id="the method"),
    ],
)
def test_the_keys_of_the_speculative_config(key: str, first: str, last: str) -> None:
    releases = [EngineVersion(0, minor, patch) for minor in range(6, 34) for patch in range(4)]
    having = [release for release in releases if key in speculative_keys(release)]
    assert having == [release for release in releases if parse(first) <= release <= max(parse(last), having[-1])]
    assert str(having[0]) == first
    assert (having[-1].major, having[-1].minor) == (parse(last).major, parse(last).minor)


def test_a_value_outside_the_choices() -> None:
    problem = choice_problem(parse("0.9.2"), "kv-cache-dtype", "bfloat16", "spec.engine.kvCacheDtype")
    assert problem is not None
    assert "vLLM 0.9.2 takes only auto, fp8" in problem.message
    assert choice_problem(parse("0.11.0"), "kv-cache-dtype", "bfloat16", "f") is None
    assert choice_problem(parse("0.33.0"), "kv-cache-dtype", "bfloat16", "f") is None
