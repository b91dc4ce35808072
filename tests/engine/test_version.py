"""Which vLLM an image holds."""

import pytest

from specdecode.api.resource import Problem
from specdecode.engine.version import EngineVersion, from_image, is_newer_than_known, nearest_known, resolve, too_old

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "version"),
    [
        pytest.param("vllm/vllm-openai:v0.32.0", EngineVersion(0, 32, 0), id="the official tag"),
        pytest.param("registry.local:5000/vllm:0.8.5", EngineVersion(0, 8, 5), id="without v, on an own registry"),
        pytest.param("vllm/vllm-openai:v0.20.1-cu130", EngineVersion(0, 20, 1), id="with a build suffix"),
        pytest.param(f"vllm/vllm-openai:v0.32.0@{DIGEST}", EngineVersion(0, 32, 0), id="with tag and digest"),
        pytest.param("vllm/vllm-openai:latest", None, id="latest names nothing"),
        pytest.param(f"vllm/vllm-openai@{DIGEST}", None, id="a digest names nothing"),
    ],
)
def test_the_tag_names_the_version(image: str, version: EngineVersion | None) -> None:
    assert from_image(image) == version


@pytest.mark.parametrize(
    ("image", "stated", "expected"),
    [
        pytest.param("vllm/vllm-openai:v0.32.0", None, "0.32.0", id="read from the tag"),
        pytest.param("vllm/vllm-openai:v0.32.0", "0.32.0", "0.32.0", id="tag and version agree"),
        pytest.param("me/vllm:1.2.3", "0.32.0", "0.32.0", id="an own tag counts for nothing beside the version"),
        pytest.param(f"vllm/vllm-openai@{DIGEST}", "0.31.0", "0.31.0", id="a digest with a version"),
    ],
)
def test_the_version_is_resolved(image: str, stated: str | None, expected: str) -> None:
    assert str(resolve(image, stated)) == expected


@pytest.mark.parametrize(
    ("image", "stated", "sentence"),
    [
        pytest.param("me/vllm:stable", None, "set spec.engine.version", id="no version anywhere"),
        pytest.param("vllm/vllm-openai:v0.31.0", "0.32.0", "is vLLM 0.31.0; make the two agree", id="a contradiction"),
    ],
)
def test_an_unreadable_version_is_a_problem(image: str, stated: str | None, sentence: str) -> None:
    problem = resolve(image, stated)
    assert isinstance(problem, Problem)
    assert sentence in str(problem)


@pytest.mark.parametrize(
    ("version", "is_refused"),
    [
        pytest.param(EngineVersion(0, 5, 5), True, id="before the releases that were read"),
        pytest.param(EngineVersion(0, 6, 0), False, id="the first that was read"),
        pytest.param(EngineVersion(0, 8, 4), False, id="both engine generations are known"),
    ],
)
def test_a_version_that_was_not_read_is_refused(version: EngineVersion, *, is_refused: bool) -> None:
    problem = too_old(version)
    assert (problem is not None) is is_refused
    assert problem is None or "0.6.0 is the oldest" in problem.message


@pytest.mark.parametrize(
    ("version", "known"),
    [
        pytest.param(EngineVersion(0, 34, 0), EngineVersion(0, 33, 0), id="newer: planned as the newest known"),
        pytest.param(EngineVersion(1, 0, 0), EngineVersion(0, 33, 0), id="a new major version"),
        pytest.param(EngineVersion(0, 33, 2), EngineVersion(0, 33, 2), id="a patch of a known one is known"),
        pytest.param(EngineVersion(0, 9, 0), EngineVersion(0, 9, 0), id="older is itself"),
    ],
)
def test_a_newer_version_is_treated_as_the_newest_known(version: EngineVersion, known: EngineVersion) -> None:
    assert nearest_known(version) == known
    assert is_newer_than_known(version) is (version != known)
