"""How the watches behave where kopf's defaults would not do."""

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from itertools import islice
from types import SimpleNamespace
from typing import Any

import kopf
import pytest
from kopf._cogs.clients import errors, watching

from specdecode import watches
from specdecode.watches import Login, Pauses, unending, watch_settings

PODS = SimpleNamespace(plural="pods")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, of pauses that take no time."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(watches.asyncio, "sleep", sleep)
    return found


def failing(error: Exception, *events: str) -> watches.Watch:
    async def watch(**_: Any) -> AsyncGenerator[str, None]:
        for event in events:
            yield event
        raise error

    return watch


async def heard(watch: watches.Watch, namespace: str | None = "ml") -> Sequence[str]:
    return [event async for event in watch(resource=PODS, namespace=namespace, settings=None)]


def test_a_request_is_tried_again_for_as_long_as_it_takes() -> None:
    """Kopf gives up after nine attempts, and ends the process with it."""
    pauses = watch_settings().networking.error_backoffs
    assert isinstance(pauses, Pauses)
    hour = list(islice(pauses, 1_000))
    assert sum(hour) > 3_600
    assert hour == sorted(hour)
    assert max(hour) == Pauses.LONGEST
    assert list(islice(pauses, 3)) == [1.0, 1.0, 2.0], "each request begins anew"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (watching.WatchingError("etcdserver: leader changed"), "WatchingError: etcdserver: leader changed"),
        (errors.APINotFoundError({"message": "gone"}, status=404, headers={}), "APINotFoundError: gone"),
        (errors.APIClientError(None, status=400, headers={}), "APIClientError"),
        (json.JSONDecodeError("half a line", "{", 1), "JSONDecodeError: half a line"),
        (KeyError("type"), "KeyError: 'type'"),
        (ValueError("two\nlines"), "ValueError: two lines"),
    ],
    ids=["error in a watch", "404", "400", "half a line", "no event", "two lines"],
)
async def test_a_watch_that_fails_is_closed_and_says_why(
    slept: list[float], caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    """Kopf opens one that was closed again, with a list."""
    with caplog.at_level(logging.WARNING):
        assert await heard(unending(failing(error, "first", "second"))) == ["first", "second"]
    assert slept == [1.0]
    assert f"the watch of pods failed and is opened again in 1 s: {said}" in caplog.text


async def test_one_that_always_fails_is_opened_more_and_more_rarely(
    slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(watches.asyncio, "get_running_loop", lambda: SimpleNamespace(time=lambda: now))
    watch = unending(failing(ValueError()))
    for _ in range(4):
        now += 5
        await heard(watch)
    assert slept == [1.0, 1.0, 2.0, 3.0]
    await heard(watch, namespace="other")
    assert slept[-1] == 1.0, "in another namespace it is the first time"
    now += 61
    await heard(watch)
    assert slept[-1] == 1.0, "it was well for a while"


async def test_without_credentials_it_ends() -> None:
    """Who closes it then would open it for ever, and never be let in."""
    with pytest.raises(kopf.LoginError):
        await heard(unending(failing(kopf.LoginError())))


async def test_kopf_takes_the_watch_that_it_is_given(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no public way in: this says in one place that a release has changed that."""
    asked: list[str] = []

    async def watch(*, resource: Any, **_: Any) -> AsyncGenerator[Any, None]:
        asked.append(resource.plural)
        yield "event"
        raise watching.WatchingError

    monkeypatch.setattr(watching, "continuous_watch", unending(watch))
    settings = watch_settings()
    found = watching.infinite_watch(settings=settings, resource=PODS, namespace="ml", _iterations=3)  # type: ignore[arg-type]
    assert [event async for event in found] == ["event"] * 3
    assert asked == ["pods"] * 3
    assert slept[::2] == [1.0, 1.0, 2.0], "between them kopf pauses, too"


async def test_credentials_are_handed_out_as_often_as_they_are_refused(
    slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kopf never takes the same ones twice. An API server that cannot authenticate anybody for a while says 401."""
    same = kopf.ConnectionInfo(server="https://cluster", token="token")
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: same)
    login = Login()
    found = [await login.credentials() for _ in range(4)]
    assert {each.token for each in found if each} == {"token"}
    assert len(set(found)) == 4
    assert slept == [1.0, 1.0, 2.0], "and never at once, but for the first time"


async def test_without_any_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: None)
    assert await Login().credentials() is None
