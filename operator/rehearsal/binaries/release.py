"""Third way: the official release, streamed into a file and compared with its published SHA-256.

The checksum comes from the same host as the file: it tells a broken download, not a broken publisher.
"""

import hashlib
import re
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from rehearsal.binaries.artefacts import Artefact, ReleaseFile
from rehearsal.binaries.cache import store, workshop
from rehearsal.binaries.ways import Found, Say, Unavailable

# A machine without these hosts shall fall through to the Go build in seconds, a slow line shall not.
TIMEOUTS = httpx.Timeout(30.0, connect=5.0)
_PROGRESS_BYTES = 25_000_000
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class _RefusedError(Exception):
    """The file or its checksum is not what was asked for. Never leaves this module."""


def download_client() -> httpx.Client:
    """A client that honours the user's proxies, as every download tool does."""
    return httpx.Client(timeout=TIMEOUTS, follow_redirects=True, trust_env=True)


def downloaded(artefact: Artefact, cache: Path, arch: str, client: httpx.Client, say: Say) -> Found | Unavailable:
    """All programs of an artefact from its release; `arch` is Go's name of the processor."""
    with workshop(cache) as folder:
        for file in artefact.release:
            url = file.url.format(arch=arch)
            try:
                _fetch(file, arch, folder, client, say)
            except httpx.HTTPError as error:
                return Unavailable(f"{urlsplit(url).hostname}: {_in_words(error)}")
            except (_RefusedError, tarfile.TarError, KeyError) as error:
                return Unavailable(f"{url}: {error}")
        return store(artefact, cache, folder)


def _in_words(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"answers {error.response.status_code} for {error.request.url}"
    return f"{type(error).__name__} {error}".strip()


def _fetch(file: ReleaseFile, arch: str, folder: Path, client: httpx.Client, say: Say) -> None:
    """Put the programs of one release file into a folder, or raise."""
    url = file.url.format(arch=arch)
    name = url.rpartition("/")[2]
    expected = _checksum(client.get(file.checksum_url.format(arch=arch)).raise_for_status().text, name)
    path = folder / name
    actual = _stream(client, url, path, say)
    if actual != expected:
        raise _RefusedError(f"SHA-256 is {actual}, published is {expected}")
    if file.members is None:
        return
    with tarfile.open(path) as archive:
        for program, member in file.members.items():
            content = archive.extractfile(member.format(arch=arch))
            if content is None:
                raise _RefusedError(f"{member} is not a file")
            with (folder / program).open("wb") as out:
                while chunk := content.read(1 << 20):
                    out.write(chunk)


def _checksum(text: str, name: str) -> str:
    """The digest of a file in a list of digests, or a digest that stands alone."""
    for words in (line.split() for line in text.splitlines()):
        is_for_file = len(words) == 1 or (len(words) == 2 and words[1].removeprefix("*") == name)
        if is_for_file and _SHA256.fullmatch(words[0]):
            return words[0].lower()
    raise _RefusedError(f"no checksum is published for {name}")


def _stream(client: httpx.Client, url: str, path: Path, say: Say) -> str:
    """Write a URL's body to a file and return its SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    announced = 0
    with client.stream("GET", url) as response, path.open("wb") as out:
        response.raise_for_status()
        total = int(response.headers.get("content-length", 0))
        received = 0
        for chunk in response.iter_bytes():
            out.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            if received >= announced:
                of = f" of {total / 1e6:.0f}" if total else ""
                say(f"{path.name}: downloading, {received / 1e6:.0f}{of} MB")
                announced = received + _PROGRESS_BYTES
    return digest.hexdigest()
