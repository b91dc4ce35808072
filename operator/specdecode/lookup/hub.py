"""Reads a repository of the hub: its file list, config.json and the headers of its safetensors files.

Addresses, token and their environment (`HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`) are those of huggingface_hub. The
requests are our own, because everything here must end in time and may read a few megabytes only. They are asynchronous
for that reason: a time-out of the whole look-up also ends an answer that drips, which one for each read does not.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from huggingface_hub import get_token, hf_hub_url
from huggingface_hub.errors import HFValidationError

from specdecode.api.words import one_line
from specdecode.engine.checkpoint.safetensors import (
    LENGTH_BYTES,
    Tensors,
    add_up,
    files_of_index,
    header_length,
    read_header,
)
from specdecode.engine.checkpoint.stored import with_modelopt
from specdecode.http_body import ENCODING, EncodingError, pieces
from specdecode.lookup.description import (
    CONFIG,
    INDEX,
    MAX_INDEX_BYTES,
    MAX_JSON_BYTES,
    QUANTIZATION,
    Description,
    LookupFailure,
    checkpoint_files,
    json_object,
    unwrapped,
)

DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_REVISION = "main"

_FIRST_BYTES = 512 * 1024
"""Holds the header of nearly every file, so that one request is enough."""
_MAX_REDIRECTS = 5
_PARALLEL = 8


@dataclass(frozen=True)
class HubOptions:
    """How the hub is asked."""

    endpoint: str | None = None
    """Omitted: HF_ENDPOINT, else the public hub."""
    connect_seconds: float = 5.0
    total_seconds: float = 20.0
    """For one model, all requests together."""
    max_total_bytes: int = 200_000_000
    """Read for one model, all requests together."""

    @property
    def base_url(self) -> str:
        """The endpoint in use, without a slash behind it."""
        return (self.endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def _token() -> str | None:
    token = get_token()
    if token is not None and not (token.isascii() and token.isprintable()):
        # An HTTP library would refuse it with the token in its message.
        raise LookupFailure("HF_TOKEN, or the file of the token, has characters that no token may have; set another")
    return token


class _Session:
    """Requests for one model: one allowance of bytes, one token."""

    def __init__(self, client: httpx.AsyncClient, options: HubOptions) -> None:
        self._client = client
        self._left_bytes = options.max_total_bytes
        self._token = _token()
        self._places = asyncio.Semaphore(_PARALLEL)
        self.base = httpx.URL(options.base_url)

    def _request(self, url: httpx.URL, count: int | None) -> httpx.Request:
        headers = {"user-agent": "specdecode-operator", "accept-encoding": ENCODING}
        if count is not None:
            headers["range"] = f"bytes=0-{count - 1}"
        # The token is for the hub alone, never for where it redirects to.
        if self._token and _origin(url) == _origin(self.base):
            headers["authorization"] = f"Bearer {self._token}"
        return self._client.build_request("GET", url, headers=headers)

    def _next_url(self, url: httpx.URL, response: httpx.Response, *, may_leave: bool) -> httpx.URL:
        target = url.join(response.headers.get("location", ""))
        if target.scheme not in {"https", self.base.scheme}:
            raise LookupFailure(f"{url.host} redirects to {target.scheme}://{target.host}, which is not followed")
        if not may_leave and _origin(target) != _origin(self.base):
            message = (
                f"{url.host} redirects to {target.host}, which is not followed: a login page or a proxy; check "
                "HF_ENDPOINT and the proxy settings"
            )
            raise LookupFailure(message)
        return target

    @asynccontextmanager
    async def _response(self, url: httpx.URL, count: int | None, *, may_leave: bool) -> AsyncIterator[httpx.Response]:
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._client.send(self._request(url, count), stream=True)
            try:
                if not response.is_redirect:
                    yield response
                    return
                url = self._next_url(url, response, may_leave=may_leave)
            finally:
                await response.aclose()
        raise LookupFailure(f"{url.host} redirects more than {_MAX_REDIRECTS} times")

    async def read(
        self, url: httpx.URL, what: str, *, limit: int, count: int | None = None, may_leave: bool = True
    ) -> bytes:
        """A whole file of at most `limit` bytes, or its first `count` bytes."""
        try:
            async with self._places, self._response(url, count, may_leave=may_leave) as response:
                _check_status(response, what)
                return await self._body(response, what, limit if count is None else count, is_prefix=count is not None)
        except (httpx.HTTPError, httpx.InvalidURL, EncodingError) as error:
            reason = one_line(str(error), 200) or type(error).__name__
            message = (
                f"{self.base.host} cannot be reached ({reason}); check the network, HF_ENDPOINT and the proxy "
                "settings, or write the dimensions to `facts`"
            )
            raise LookupFailure(message) from error

    async def _body(self, response: httpx.Response, what: str, limit: int, *, is_prefix: bool) -> bytes:
        body = bytearray()
        async for chunk in pieces(response):
            body += chunk
            self._left_bytes -= len(chunk)
            if len(body) >= limit and is_prefix:
                return bytes(body[:limit])
            if len(body) > limit or self._left_bytes < 0:
                raise LookupFailure(f"{what} has more than the {limit} bytes that are read; it is of another kind")
        return bytes(body)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


_MISSING = "does not exist on the hub, or is private; check the spelling, or set HF_TOKEN to a token that may read it"
_REASONS: Mapping[str, str] = {
    "GatedRepo": "is gated: accept its licence on the hub and set HF_TOKEN to a token of that account",
    "RepoNotFound": _MISSING,
    "RevisionNotFound": "has no such revision; name a branch, a tag or a commit of the repository",
    "EntryNotFound": "lacks the file",
}


def _check_status(response: httpx.Response, what: str) -> None:
    status = response.status_code
    if status in {200, 206}:
        return
    known = _REASONS.get(response.headers.get("x-error-code", ""))
    if known is not None:
        raise LookupFailure(f"{known} ({what}, HTTP {status})")
    reasons = {
        401: "needs a token: set HF_TOKEN to one that may read it",
        403: "is not allowed to this token: accept the licence on the hub, or set HF_TOKEN to another token",
        404: _MISSING,
        429: "was asked too often; try later, with HF_TOKEN the limit is higher",
    }
    reason = reasons.get(status, "the hub failed; try later" if status >= 500 else "the hub refused the request")
    raise LookupFailure(f"{reason} ({what}, HTTP {status})")


@dataclass(frozen=True)
class _Repository:
    """One repository at one commit."""

    session: _Session
    name: str
    commit: str
    files: list[str]

    def _url(self, file: str) -> httpx.URL:
        endpoint = str(self.session.base)
        return httpx.URL(hf_hub_url(self.name, file, revision=self.commit, endpoint=endpoint))

    async def document(self, file: str) -> dict[str, Any]:
        """A small JSON file."""
        text = await self.session.read(self._url(file), file, limit=MAX_JSON_BYTES, may_leave=False)
        return json_object(text, file)

    async def checkpoint(self) -> tuple[str, ...]:
        """Names of the safetensors files."""
        if INDEX not in self.files:
            return checkpoint_files(self.files)
        text = await self.session.read(self._url(INDEX), INDEX, limit=MAX_INDEX_BYTES)
        return unwrapped(files_of_index(text, INDEX))

    async def tensors(self, file: str) -> tuple[Tensors, ...]:
        """From the header of one safetensors file."""
        start = await self._prefix(file, _FIRST_BYTES)
        length = unwrapped(header_length(start, file))
        if LENGTH_BYTES + length > len(start):
            start = await self._prefix(file, LENGTH_BYTES + length)
        return unwrapped(read_header(start[LENGTH_BYTES : LENGTH_BYTES + length], file))

    async def _prefix(self, file: str, count: int) -> bytes:
        return await self.session.read(self._url(file), file, limit=count, count=count)


async def _open(session: _Session, name: str, revision: str) -> _Repository:
    listed = f"{session.base}/api/models/{quote(name)}/revision/{quote(revision, safe='')}"
    text = await session.read(httpx.URL(listed), "the list of files", limit=MAX_JSON_BYTES, may_leave=False)
    document = json_object(text, "the list of files")
    siblings = document.get("siblings")
    files = [
        str(entry["rfilename"])
        for entry in (siblings if isinstance(siblings, list) else ())
        if isinstance(entry, Mapping) and "rfilename" in entry
    ]
    return _Repository(session, name, str(document.get("sha") or revision), files)


async def _describe(name: str, revision: str, options: HubOptions) -> Description:
    timeout = httpx.Timeout(options.total_seconds, connect=options.connect_seconds)
    # The environment's proxies apply, as they do for huggingface_hub.
    async with httpx.AsyncClient(timeout=timeout, follow_redirects=False) as client:
        session = _Session(client, options)
        repository = await _open(session, name, revision)
        if CONFIG not in repository.files:
            raise LookupFailure(
                f"it has no {CONFIG}; name the repository of the model itself, not of an adapter or GGUF"
            )
        config = await repository.document(CONFIG)
        extra = await repository.document(QUANTIZATION) if QUANTIZATION in repository.files else None
        headers = await asyncio.gather(*map(repository.tensors, await repository.checkpoint()))
    tensors = add_up(tensor for header in headers for tensor in header)
    source = f"{session.base.host}/{name} at {repository.commit[:12]}"
    return Description(with_modelopt(config, extra), tensors, source)


async def _in_time(name: str, revision: str, options: HubOptions) -> Description:
    try:
        async with asyncio.timeout(options.total_seconds):
            return await _describe(name, revision, options)
    except TimeoutError as error:
        host, seconds = httpx.URL(options.base_url).host, options.total_seconds
        message = f"{host} did not answer completely within {seconds:g} s; try later, or write the facts to the spec"
        raise LookupFailure(message) from error


def describe_repository(name: str, revision: str | None, options: HubOptions) -> Description:
    """A repository as the hub has it; raises LookupFailure with the reason when it cannot be read.

    It runs an event loop of its own, so it must not be called on the thread of another.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise LookupFailure("HF_HUB_OFFLINE is set, so the hub is not asked; unset it, or write the facts to the spec")
    try:
        hf_hub_url(name, CONFIG)
    except HFValidationError as error:
        raise LookupFailure(f"is no name of a repository: {error}") from error
    return asyncio.run(_in_time(name, revision or DEFAULT_REVISION, options))
