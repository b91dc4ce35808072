"""Start-up, readiness and liveness probes: HTTP GET with thresholds. Judges answers; restarts nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

Body = Mapping[str, Any]


class UnsupportedProbeError(Exception):
    """A probe that is no `httpGet`."""


@dataclass(frozen=True)
class Probe:
    """A probe with the API server's defaults filled in."""

    path: str
    port: int
    initial_delay_seconds: float = 0.0
    period_seconds: float = 10.0
    timeout_seconds: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


def read_probe(container: Body, kind: str) -> Probe | None:
    """The probe of a container under the key `kind`, its port's name resolved; None when it has none.

    Raises:
        UnsupportedProbeError: it is no `httpGet`, or its port has no number.
    """
    body = container.get(kind)
    if not body:
        return None
    if "httpGet" not in body:
        raise UnsupportedProbeError(f"the rehearsal's node supports httpGet probes only, not this {kind}")
    return Probe(
        path=body["httpGet"].get("path", "/"),
        port=_port(container, body["httpGet"]["port"]),
        initial_delay_seconds=body.get("initialDelaySeconds", 0),
        period_seconds=body.get("periodSeconds", 10),
        timeout_seconds=body.get("timeoutSeconds", 1),
        success_threshold=body.get("successThreshold", 1),
        failure_threshold=body.get("failureThreshold", 3),
    )


def _port(container: Body, port: int | str) -> int:
    if isinstance(port, int):
        return port
    for candidate in container.get("ports", ()):
        if candidate.get("name") == port:
            return int(candidate["containerPort"])
    raise UnsupportedProbeError(f"the container has no port named {port}")


@dataclass(frozen=True)
class Tally:
    """Answers in a row, and what they mean."""

    probe: Probe
    successes: int = 0
    failures: int = 0

    def after(self, *, ok: bool) -> "Tally":
        """The tally with one more answer."""
        return replace(self, successes=self.successes + 1 if ok else 0, failures=0 if ok else self.failures + 1)

    @property
    def verdict(self) -> bool | None:
        """True or False once enough answers agree; None before."""
        if self.successes >= self.probe.success_threshold:
            return True
        return False if self.failures >= self.probe.failure_threshold else None


class Prober:
    """Asks one probe of one container, at once after the initial delay and then every period."""

    def __init__(self, probe: Probe, address: str, session: aiohttp.ClientSession) -> None:
        self._tally = Tally(probe)
        self._address = address
        self._session = session
        self._due_seconds = asyncio.get_running_loop().time() + probe.initial_delay_seconds

    async def verdict(self) -> bool:
        """Wait for the next answer that means something: as the first of all, or together with those before it."""
        loop, probe = asyncio.get_running_loop(), self._tally.probe
        while True:
            await asyncio.sleep(max(0.0, self._due_seconds - loop.time()))
            self._due_seconds = loop.time() + probe.period_seconds
            self._tally = self._tally.after(ok=await _answers(probe, self._address, self._session))
            if self._tally.verdict is not None:
                return self._tally.verdict


async def _answers(probe: Probe, address: str, session: aiohttp.ClientSession) -> bool:
    url = f"http://{address}:{probe.port}{probe.path}"
    timeout = aiohttp.ClientTimeout(total=probe.timeout_seconds)
    try:
        async with session.get(url, timeout=timeout, allow_redirects=False) as answer:
            return 200 <= answer.status < 400
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
