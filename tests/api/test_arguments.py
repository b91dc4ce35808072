"""Which arguments and variables nobody but the operator may set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.api.arguments import DENIED_ARGUMENTS, RENDERED_ARGUMENTS, is_refused_argument, is_refused_variable

REFUSED = (*RENDERED_ARGUMENTS, *DENIED_ARGUMENTS)


def test_no_argument_is_listed_twice() -> None:
    assert len(set(REFUSED)) == len(REFUSED)


@given(st.sampled_from(REFUSED), st.integers(min_value=2, max_value=80), st.sampled_from(["", "no-"]))
def test_no_beginning_of_a_refused_argument_gets_through(name: str, length: int, prefix: str) -> None:
    """The parser of vLLM completes beginnings that are unambiguous."""
    beginning = name[:length].rstrip("-")
    assert is_refused_argument(prefix + beginning) is not (beginning == "reasoning-parser")


@pytest.mark.parametrize(
    "name",
    [
        "async-scheduling",
        "attention-backend",
        "enable-auto-tool-choice",
        "enable-chunked-prefill",
        "enable-expert-parallel",
        "enable-lora",
        "enable-prefix-caching",
        "generation-config",
        "max-logprobs",
        "model-impl",
        "no-enable-prefix-caching",
        "reasoning-parser",
        "scheduling-policy",
        "seed",
        "tokenizer-mode",
        "tool-call-parser",
    ],
)
def test_what_people_need_is_allowed(name: str) -> None:
    assert not is_refused_argument(name)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("VLLM_ATTENTION_BACKEND", True),
        ("PYTHONSTARTUP", True),
        ("HF_TOKEN", True),
        ("HF_HUB_OFFLINE", False),
        ("HF_ENDPOINT", False),
        ("DO_NOT_TRACK", False),
        ("NCCL_P2P_DISABLE", False),
    ],
)
def test_variables(name: str, *, verdict: bool) -> None:
    assert is_refused_variable(name) is verdict
