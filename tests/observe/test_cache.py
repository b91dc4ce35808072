"""The KV cache that engines report in labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.decide.facts import CacheReading
from specdecode.observe.cache import cache_reading


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param([("3640", "128")], CacheReading(3640, 128), id="one pod"),
        pytest.param([("3640", "128"), ("3590", "128")], CacheReading(3590, 128), id="the smallest of two"),
        pytest.param([("100", "64"), ("200", "16")], CacheReading(200, 16), id="smallest in tokens, not in blocks"),
        pytest.param([("200", "16"), ("100", "32")], CacheReading(100, 32), id="as many tokens: one answer, any order"),
        pytest.param([("None", "16"), ("3640", "16")], CacheReading(3640, 16), id="a pod that has not counted yet"),
        pytest.param([("None", "16")], None, id="none has counted"),
        pytest.param([("3640", "None")], None, id="no block size"),
        pytest.param([("0", "16")], None, id="a model that keeps no cache"),
        pytest.param([("", "")], None, id="no labels"),
        pytest.param([("-5", "16")], None, id="less than nothing"),
        pytest.param([("3640.0", "16")], None, id="no whole number"),
        pytest.param([("٣٦٤٠", "16")], None, id="digits of another script"),
        pytest.param([("9" * 5000, "16")], None, id="a number without end"),
        pytest.param([], None, id="no pod"),
    ],
)
def test_cache_reading(labels: list[tuple[str, str]], expected: CacheReading | None) -> None:
    assert cache_reading(labels) == expected


@given(st.lists(st.tuples(st.text() | st.from_regex(r"\d*"), st.text() | st.from_regex(r"\d*"))))
def test_no_label_is_too_odd(labels: list[tuple[str, str]]) -> None:
    found = cache_reading(labels)
    assert found is None or (str(found.num_gpu_blocks), str(found.block_size_tokens)) in labels


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 1024)), min_size=1))
def test_the_order_of_pods_does_not_matter(pods: list[tuple[int, int]]) -> None:
    labels = [(str(blocks), str(size)) for blocks, size in pods]
    found = cache_reading(labels)
    assert found == cache_reading(reversed(labels))
    assert found is not None
    assert all(found.num_gpu_blocks * found.block_size_tokens <= blocks * size for blocks, size in pods)
