"""What a resource is known by: the hash that a latch is bound to, and the mode that it asks for."""

from collections.abc import Mapping
from typing import Any

import pytest
from builders import ABSENT, resource

from specdecode.api.resource import digest
from specdecode.api.vocabulary import Mode

SPECULATION = {"method": "ngram", "numSpeculativeTokens": 4}


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"spec.model.revision": "main"}, id="another revision of the model"),
        pytest.param({"spec.model.quantization": ABSENT}, id="another quantisation of the model"),
        pytest.param({"spec.engine.image": "vllm/vllm-openai:v0.31.0"}, id="another image"),
        pytest.param({"spec.engine.maxNumSeqs": 32}, id="another limit of the engine"),
        pytest.param({"spec.engine.extraArgs": [{"name": "seed", "value": "1"}]}, id="another argument"),
        pytest.param({"spec.accelerator.count": 4}, id="other GPUs"),
        pytest.param({"spec.speculation.numSpeculativeTokens": 3}, id="another number of tokens"),
        pytest.param({"spec.speculation.draft.quantization": "awq"}, id="another quantisation of the draft"),
        pytest.param({"spec.speculation.fallbacks": ["NGram"]}, id="other fallbacks"),
        pytest.param({"spec.speculation": ABSENT}, id="no speculation"),
    ],
)
def test_a_latch_is_left_behind_by(overrides: Mapping[str, Any]) -> None:
    assert resource(**overrides).spec_hash != resource().spec_hash


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"spec.replicas": 9}, id="replicas"),
        pytest.param({"spec.replicas": ABSENT}, id="replicas handed to an autoscaler"),
        pytest.param({"spec.guard": {"window": "10m", "action": "Recommend"}}, id="guard"),
        pytest.param({"spec.podTemplate": {"labels": {"team": "search"}}}, id="pod labels"),
        pytest.param({"spec.huggingFaceToken": {"secretName": "hf"}}, id="token"),
        pytest.param({"metadata.name": "other", "metadata.uid": "other"}, id="name and uid"),
        pytest.param({"metadata.annotations": {"specdecode.io/retry": "1"}}, id="annotations"),
        pytest.param({"metadata.generation": 7}, id="generation"),
        pytest.param({"status": {"mode": "Off"}}, id="status"),
        pytest.param({"spec.engine.gpuMemoryUtilization": "0.92"}, id="a default that is written out"),
        pytest.param({"spec.speculation.ngram": {"promptLookupMin": 2}}, id="a nested default that is written out"),
        pytest.param({"spec.engine.extraArgs": []}, id="an empty list that is written out"),
    ],
)
def test_a_latch_is_kept_through(overrides: Mapping[str, Any]) -> None:
    assert resource(**overrides).spec_hash == resource().spec_hash


def test_the_hash_of_the_good_resource_is_stable_across_versions_of_the_operator() -> None:
    """A change here re-arms every latch in every cluster."""
    assert resource().spec_hash == "703283bf22"


@pytest.mark.parametrize(
    ("overrides", "mode"),
    [
        pytest.param({}, Mode.QUANTIZED_DRAFT, id="a quantised draft"),
        pytest.param(
            {"spec.speculation.draft.quantization": ABSENT, "spec.speculation.fallbacks": ["NGram"]},
            Mode.DRAFT,
            id="a draft as it is",
        ),
        pytest.param({"spec.speculation": SPECULATION}, Mode.NGRAM, id="n-gram"),
        pytest.param({"spec.speculation": SPECULATION | {"method": "ngram_gpu"}}, Mode.NGRAM, id="n-gram on the GPU"),
        pytest.param({"spec.speculation": SPECULATION | {"method": "mtp"}}, Mode.DRAFT, id="a head in the checkpoint"),
        pytest.param({"spec.speculation": SPECULATION | {"method": "suffix"}}, Mode.DRAFT, id="as requested"),
        pytest.param({"spec.speculation": ABSENT}, Mode.OFF, id="no speculation"),
    ],
)
def test_the_requested_mode(overrides: Mapping[str, Any], mode: Mode) -> None:
    assert resource(**overrides).requested_mode is mode


def test_a_resource_is_known_by_namespace_and_name() -> None:
    assert resource().key == ("serving", "llama-70b")


def test_the_window_is_in_seconds() -> None:
    assert resource(**{"spec.guard.window": "1m30s"}).window_seconds == 90.0


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert len(digest({})) == 10
