"""Packed objects come out as they went in, and objects of one kind are few bytes."""

import json
from typing import Any

import pytest
from builders import body
from hypothesis import given
from hypothesis import strategies as st

from specdecode.packed import Packer

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.text(), VALUES), min_size=1, max_size=4))
def test_whatever_goes_in_comes_out(objects: list[dict[str, Any]]) -> None:
    packer = Packer()
    packed = [packer.pack(each) for each in objects]
    assert [packer.unpack(each) for each in packed] == objects


def test_a_sample_that_is_longer_than_the_format_can_point_back_is_cut() -> None:
    packer, long = Packer(), {"text": "".join(str(number) for number in range(20_000))}
    assert packer.unpack(packer.pack(long)) == long
    assert packer.unpack(packer.pack({"a": 1})) == {"a": 1}


@pytest.mark.parametrize("number", [1, 9_999])
def test_a_resource_like_the_first_is_few_bytes(number: int) -> None:
    packer = Packer()
    packer.pack(body())
    other = body(**{"metadata.name": f"chat-{number}", "metadata.resourceVersion": str(number)})
    assert len(packer.pack(other)) < len(json.dumps(other)) / 8
