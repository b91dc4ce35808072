"""The body of an HTTP response piece by piece, unpacked within bounds.

httpx unpacks by itself and without one: a piece of 64 KB may become 64 MB, and with two encodings, one over the other,
whatever memory there is.
"""

import zlib
from collections.abc import AsyncIterator

import httpx

from specdecode.api.words import one_line

ENCODING = "gzip"
"""What may be asked for (`Accept-Encoding`), and the only encoding that is read."""

_GZIP = 16 + zlib.MAX_WBITS
_PIECE_BYTES = 1024**2


class EncodingError(Exception):
    """The body is encoded in another way, or not in the way that it says; the message says it without a subject."""


async def pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body of a response that was sent with `stream=True`, in pieces of 1 MiB at most where it was packed. Raises
    EncodingError.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        async for piece in response.aiter_bytes():
            yield piece
        return
    if encoding != ENCODING:
        raise EncodingError(f"an answer encoded as {one_line(encoding, 60)}, which was not asked for")
    inflater = zlib.decompressobj(_GZIP)
    async for piece in response.aiter_raw():
        left = piece
        while left:
            try:
                yield inflater.decompress(left, _PIECE_BYTES)
            except zlib.error:
                raise EncodingError(f"an answer that is not {ENCODING}, as it says") from None
            left = inflater.unconsumed_tail
    yield inflater.flush()  # some hundred bytes at most; the pieces had a bound
