"""What proves who we are is told to nobody but the one it is for: not in a log at any level, not in status, Events,
metrics, errors or help, whatever the other side does with it. Every secret here holds CANARY.
"""

import asyncio
import base64
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from builders import body
from click import Command
from security.sockets import answering, http
from test_reconcile import Server
from typer.main import get_command
from typer.testing import CliRunner

from specdecode.cli import app
from specdecode.errors import SettingsError
from specdecode.kube import Kube, connect
from specdecode.lookup.description import Wanted
from specdecode.lookup.find import Sources, look_up
from specdecode.lookup.hub import HubOptions
from specdecode.loop import Operator, utc_now
from specdecode.observe.prometheus import PrometheusClient
from specdecode.settings import LogFormat, Settings
from specdecode.telemetry import set_up_logging

CANARY = "c4n4ry-c4n4ry-c4n4ry"
KEY = ("serving", "llama-70b")
SPELLINGS = (CANARY, base64.b64encode(f"me:{CANARY}".encode()).decode(), CANARY[:12])


def told(text: str) -> list[str]:
    """The spellings of the secret that are in a text."""
    return [spelling for spelling in SPELLINGS if spelling in text]


def echoing(status: str, *, shown: int = 200) -> Callable[[bytes], Iterable[bytes]]:
    """A server that quotes in its refusal what it was sent, as some proxies do. The quote may be cut off."""

    def reply(request: bytes) -> Iterable[bytes]:
        found = re.search(rb"(?im)^authorization: (.*?)\r$", request)
        said = f"{'x' * (200 - shown)} who is {found[1].decode() if found else 'nobody'}?"
        content = json.dumps({"status": "error", "error": said, "message": said}).encode()
        return [http(content, "X-Error-Message: " + said, status=status)]

    return reply


class Heard(logging.Handler):
    """Everything that is said, at every level, in both formats. The loggers that `specdecode run` keeps to warnings
    stay there: httpcore would show all headers of an answer, and nothing turns it louder.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.formatters: list[logging.Formatter] = []
        for log_format in LogFormat:
            set_up_logging(log_format)
            made = logging.getLogger().handlers[0].formatter
            assert made is not None
            self.formatters.append(made)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [formatter.format(record) for formatter in self.formatters]


@pytest.fixture
def heard() -> Iterator[Heard]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    handler = Heard()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    yield handler
    root.handlers[:], root.level = before[0], before[1]


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


PROOFS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "a token": lambda at: {"prometheus_token_file": _written(at / "token", CANARY)},
    "a token of two lines": lambda at: {"prometheus_token_file": _written(at / "token", f"{CANARY}\nX-Evil: {CANARY}")},
    "a token with an escape": lambda at: {"prometheus_token_file": _written(at / "token", f"{CANARY}\x1b")},
    "a token that is not ASCII": lambda at: {"prometheus_token_file": _written(at / "token", f"{CANARY}é")},
    "a password": lambda at: {
        "prometheus_username": "me", "prometheus_password_file": _written(at / "password", CANARY),
    },
    "a password of two lines": lambda at: {
        "prometheus_username": "me", "prometheus_password_file": _written(at / "password", f"{CANARY}\n{CANARY}"),
    },
}  # fmt: skip


async def life(settings: Settings) -> str:
    """An operator's life with one resource, and all that it wrote and would show."""
    server = Server(cast("Any", None))
    async with PrometheusClient.from_settings(settings) as prometheus:
        running = Operator(settings, cast("Kube", server), prometheus)
        server.store = running.store
        server.put(body())
        for _ in range(3):
            await running.reconciler.visit(KEY, utc_now())
            await running.tick()
        await running.reconciler.visit(KEY, utc_now())
        await running.visit(("serving", "nobody"))
        running.reconciler.visit = cast("Any", _breaks)  # type: ignore[method-assign]
        await running.visit(KEY)
        shown = [running.metrics.page().decode(), str(running.health.problem()), repr(settings), str(server.events)]
        return json.dumps(list(server.objects.values())) + "\n".join(shown)


async def _breaks(*_: Any) -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("status", ["401 Unauthorized", "200 OK", "302 Found"])
@pytest.mark.parametrize("proof", PROOFS)
def test_an_operator_tells_nobody(proof: str, status: str, tmp_path: Path, heard: Heard) -> None:
    with answering(echoing(status)) as url:
        settings = Settings(prometheus_url=url, **PROOFS[proof](tmp_path))
        everything = asyncio.run(life(settings))
    assert "MetricsAvailable" in everything
    assert told(everything) == []
    assert status[:3] != "401" or "who is" in everything or "cannot be read" in everything
    assert told("\n".join(heard.lines)) == []
    assert any("a bug" in line for line in heard.lines)


@pytest.mark.parametrize("shown", [0, 20, 40, 60, 80])
def test_a_secret_that_is_cut_off_is_not_told_either(shown: int, tmp_path: Path) -> None:
    with answering(echoing("401 Unauthorized", shown=shown)) as url:
        settings = Settings(prometheus_url=url, prometheus_token_file=_written(tmp_path / "token", CANARY * 4))
        assert told(asyncio.run(life(settings))) == []


@pytest.mark.parametrize("kind", ["ca", "certificate", "key"])
def test_a_file_of_tls_that_is_none_is_not_quoted(kind: str, tmp_path: Path) -> None:
    garbage = _written(tmp_path / "x.pem", f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n")
    files: dict[str, Any] = {"prometheus_ca_file": garbage}
    if kind != "ca":
        files = {"prometheus_client_certificate_file": garbage, "prometheus_client_key_file": garbage}
    with pytest.raises(SettingsError) as caught:
        PrometheusClient.from_settings(Settings(prometheus_url="https://127.0.0.1:1", **files))
    assert told(str(caught.value)) == []


def _kubeconfig(at: Path, url: str, **user: str) -> Path:
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user}],
    }  # fmt: skip
    return _written(at / "kubeconfig", yaml.safe_dump(config))


USERS: dict[str, dict[str, str]] = {
    "a token": {"token": CANARY},
    "a token of two lines": {"token": f"{CANARY}\n{CANARY}"},
    "a password": {"username": "me", "password": CANARY},
    "a certificate that is none": {"client-certificate-data": CANARY, "client-key-data": CANARY},
}


@pytest.mark.parametrize("status", ["401 Unauthorized", "422 No", "200 OK"])
@pytest.mark.parametrize("user", USERS)
def test_the_api_server_may_quote_us_and_nobody_hears_it(
    user: str, status: str, tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(echoing(status)) as url:
        monkeypatch.setenv("KUBECONFIG", str(_kubeconfig(tmp_path, url, **USERS[user])))
        for arguments in (["status"], ["status", "chat"], ["retry", "chat"], ["diff", "-f", "examples/eagle3.yaml"]):
            result = CliRunner().invoke(app, arguments)
            assert told(result.output + repr(result.exception)) == []
    assert told("\n".join(heard.lines)) == []


async def test_a_client_of_the_cluster_does_not_show_itself(tmp_path: Path) -> None:
    async with connect(str(_kubeconfig(tmp_path, "http://127.0.0.1:1", token=CANARY))) as kube:
        assert told(repr(kube) + str(vars(kube))) == []


@pytest.mark.parametrize("token", [CANARY, f"{CANARY}\x01", f"{CANARY}é", f"{CANARY}\nX: y"])
@pytest.mark.parametrize("status", ["401 Unauthorized", "500 Oh", "200 OK", "302 Found"])
def test_the_hub_may_quote_us_and_nobody_hears_it(
    token: str, status: str, tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with answering(echoing(status)) as url:
        sources = Sources(is_hub_allowed=True, cache_directory=tmp_path, hub=HubOptions(endpoint=url))
        found = look_up([Wanted("spec.model", "acme/gated")], sources)
    assert found
    assert told(str(found)) == []
    assert told("\n".join(heard.lines)) == []


BACKTEST = ("backtest", "-f", "examples/eagle3.yaml", "--prometheus")
SWEEP = ("sweep", "{url}", "--output-directory", "{at}", "--api-key-env")
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "backtest": ((*BACKTEST, "{url}", "--prometheus-token-file", "{at}/token"), "--prometheus"),
    "backtest, a token of two lines": (
        (*BACKTEST, "{url}", "--prometheus-token-file", "{at}/lines"), "has more than one line",
    ),
    "backtest, no file": ((*BACKTEST, "{url}", "--prometheus-token-file", "{at}/nothing"), "No such file"),
    "backtest, in the address": ((*BACKTEST, "http://me:{canary}@127.0.0.1:1"), "http://…@127.0.0.1:1"),
    "sweep": ((*SWEEP, "KEY"), "127.0.0.1"),
    "sweep, a key of two lines": ((*SWEEP, "LINES"), "more than one line"),
    "sweep, the key itself": ((*SWEEP, "{canary}"), "not the key"),
    "sweep, in the address": (("sweep", "http://me:{canary}@127.0.0.1:1"), "holds credentials"),
    "run, in the address": (("run", "--prometheus-url", "http://me:{canary}@127.0.0.1:1"), "has a user or a password"),
    "run, in an address that is none": (("run", "--prometheus-url", "http://me:{canary}@:x y"), "valid URL"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_tells_nobody(name: str, tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    words, expected = COMMANDS[name]
    monkeypatch.setenv("KEY", CANARY)
    monkeypatch.setenv("LINES", f"{CANARY}\nX: {CANARY}")
    monkeypatch.setenv("KUBECONFIG", str(_kubeconfig(tmp_path, "http://127.0.0.1:1")))
    secrets = {_written(tmp_path / "token", CANARY), _written(tmp_path / "lines", f"{CANARY}\nX: {CANARY}")}
    for status in ("401 Unauthorized", "500 Oh", "200 OK"):
        with answering(echoing(status)) as url:
            result = CliRunner().invoke(app, [word.format(url=url, canary=CANARY, at=tmp_path) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code != 0
        assert expected in " ".join(result.output.split())
        assert told(result.output) == []
    left = [file for file in tmp_path.rglob("*") if file.is_file() and file not in secrets]
    assert told("\n".join(file.read_text(encoding="utf-8") for file in left)) == []
    assert told("\n".join(heard.lines)) == []


def _commands() -> dict[str, Command]:
    return dict(cast("Any", get_command(app)).commands)


@pytest.mark.parametrize("name", ["", *_commands()])
def test_help_shows_no_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_TOKEN", "SPECDECODE_PROMETHEUS_USERNAME", "SPECDECODE_PROMETHEUS_URL", "SPECDECODE_IDENTITY"):
        monkeypatch.setenv(variable, CANARY)
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert told(result.output) == []
