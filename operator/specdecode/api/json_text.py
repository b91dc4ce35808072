"""JSON of others, read within bounds: small values take twenty times the memory of their text. Pure."""

import json
from typing import Any

MAX_CONTAINERS, MAX_STRINGS = 1_000_000, 2_500_000
"""Of one document: some 200 MiB. The headers of the largest checkpoints have a third of it."""


def read_json(text: bytes) -> Any:
    """The document. Raises ValueError for what is none, is nested too deeply or has more values than stated."""
    if text.count(b"{") + text.count(b"[") > MAX_CONTAINERS or text.count(b'"') // 2 > MAX_STRINGS:
        raise ValueError("more values than are read")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
