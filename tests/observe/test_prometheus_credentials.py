"""The ways to prove who asks, against a real server: HTTPS with its own CA, client certificates, users and tokens."""

import asyncio
import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from rehearsal.certificates import Authority, KeyPair
from specdecode.errors import SettingsError
from specdecode.observe.credentials import Credentials
from specdecode.observe.prometheus import Failure, PrometheusClient, Samples
from specdecode.settings import Settings

AT = datetime(2026, 11, 23, tzinfo=UTC)
EMPTY = json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode()
AUTHORITY = Authority()


def written(folder: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    return certificate, key


@contextmanager
def server(
    folder: Path, *, wants: str = "", wants_certificate: bool = False, of: Authority = AUTHORITY, delay: float = 0
) -> Iterator[str]:
    """A Prometheus that answers with nothing, after a while, to those who may ask."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(delay)
            status = 200 if self.headers.get("Authorization", "") == wants else 401
            self.send_response(status)
            self.end_headers()
            self.wfile.write(EMPTY if status == 200 else b"who are you?")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*written(folder, "server", of.server(["localhost"], ["127.0.0.1"])))
    (folder / "ca.crt").write_bytes(of.certificate)
    if wants_certificate:
        tls.load_verify_locations(folder / "ca.crt")
        tls.verify_mode = ssl.CERT_REQUIRED
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.socket = tls.wrap_socket(listening.socket, server_side=True)
    listening.handle_error = lambda *_: None  # type: ignore[method-assign]  # a refused handshake is what is tested
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


async def answer_to(url: str, folder: Path, **settings: Any) -> Samples | Failure:
    described = Settings(prometheus_url=url, prometheus_ca_file=folder / "ca.crt", **settings)
    async with PrometheusClient.from_settings(described) as client:
        return await client.query("up", at=AT)


async def test_a_user_is_believed_and_the_password_may_change(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("first\n")
    described = Settings(
        prometheus_ca_file=tmp_path / "ca.crt", prometheus_username="reader", prometheus_password_file=password
    )
    with server(tmp_path, wants="Basic " + base64.b64encode(b"reader:second").decode()) as url:
        async with PrometheusClient(url, credentials=Credentials.from_settings(described)) as client:
            refused = await client.query("up", at=AT)
            assert isinstance(refused, Failure)
            assert "401" in refused.cause
            assert "first" not in refused.cause
            password.write_text("second\n")
            assert isinstance(await client.query("up", at=AT), Samples)


async def test_a_token_is_believed(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t0ken\n")
    with server(tmp_path, wants="Bearer t0ken") as url:
        assert isinstance(await answer_to(url, tmp_path, prometheus_token_file=token), Samples)
        token.write_text("old")
        refused = await answer_to(url, tmp_path, prometheus_token_file=token)
        assert isinstance(refused, Failure)
        assert "old" not in refused.cause


async def test_a_client_certificate_is_shown_where_it_is_wanted(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, "client", AUTHORITY.client("specdecode-operator"))
    shown = {"prometheus_client_certificate_file": certificate, "prometheus_client_key_file": key}
    with server(tmp_path, wants_certificate=True) as url:
        assert isinstance(await answer_to(url, tmp_path, **shown), Samples)
        assert isinstance(await answer_to(url, tmp_path), Failure)


async def test_a_server_that_refuses_our_certificate_never_breaks_the_operator(tmp_path: Path) -> None:
    """Under TLS 1.3 the refusal comes with the first answer, in whatever state the connection is then."""
    certificate, key = written(tmp_path, "client", Authority().client("of an authority that nobody knows"))
    described = Settings(
        prometheus_ca_file=tmp_path / "ca.crt",
        prometheus_client_certificate_file=certificate,
        prometheus_client_key_file=key,
    )
    with server(tmp_path, wants_certificate=True) as url:
        credentials = Credentials.from_settings(described)
        async with PrometheusClient(url, credentials=credentials) as client:
            answers = [await client.query("up", at=AT) for _ in range(120)]
    assert all(isinstance(answer, Failure) for answer in answers)


def replaced(file: Path, content: bytes) -> None:
    """As a kubelet does it: another file under the same name, at once."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.replace(file)


async def test_client_certificates_are_followed_when_they_are_replaced(tmp_path: Path) -> None:
    """They live for days; the operator for months."""
    certificate, key = written(tmp_path, "client", Authority().client("of an authority that nobody knows"))
    described = Settings(
        prometheus_ca_file=tmp_path / "ca.crt",
        prometheus_client_certificate_file=certificate,
        prometheus_client_key_file=key,
    )
    with server(tmp_path, wants_certificate=True) as url:
        credentials = Credentials.from_settings(described)
        async with PrometheusClient(url, credentials=credentials) as client:
            assert isinstance(await client.query("up", at=AT), Failure)
            renewed = AUTHORITY.client("specdecode-operator")
            replaced(certificate, renewed.certificate)
            half = await client.query("up", at=AT)
            assert isinstance(half, Failure)
            assert f"{certificate} and prometheus_client_key_file {key} cannot be read" in half.cause
            replaced(key, renewed.key)
            assert isinstance(await client.query("up", at=AT), Samples)


async def test_an_authority_that_was_replaced_is_believed_no_longer(tmp_path: Path) -> None:
    with server(tmp_path) as url:
        described = Settings(prometheus_ca_file=tmp_path / "ca.crt")
        async with PrometheusClient(url, credentials=Credentials.from_settings(described)) as client:
            assert isinstance(await client.query("up", at=AT), Samples)
            replaced(tmp_path / "ca.crt", Authority().certificate)
            assert isinstance(await client.query("up", at=AT), Failure)
            (tmp_path / "ca.crt").unlink()
            gone = await client.query("up", at=AT)
            assert isinstance(gone, Failure)
            assert "prometheus_ca_file" in gone.cause


async def test_a_query_under_way_ends_as_it_began(tmp_path: Path) -> None:
    """What is replaced meanwhile is for the next one."""
    with server(tmp_path, delay=0.5) as url:
        described = Settings(prometheus_ca_file=tmp_path / "ca.crt")
        async with PrometheusClient(url, credentials=Credentials.from_settings(described)) as client:
            under_way = asyncio.create_task(client.query("up", at=AT))
            await asyncio.sleep(0.2)
            first = client._pool.client
            replaced(tmp_path / "ca.crt", Authority().certificate)
            assert isinstance(await client.query("up", at=AT), Failure)
            assert not first.is_closed
            assert isinstance(await under_way, Samples)
            assert first.is_closed


async def test_a_key_that_wants_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    pair = AUTHORITY.client("specdecode-operator")
    certificate, key = written(tmp_path, "client", pair)
    locked = serialization.load_pem_private_key(pair.key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"s3cret"),
    )
    key.write_bytes(locked)
    with pytest.raises(SettingsError, match="the key not encrypted"):
        PrometheusClient.from_settings(
            Settings(prometheus_client_certificate_file=certificate, prometheus_client_key_file=key)
        )


async def test_a_server_of_another_authority_is_not_believed(tmp_path: Path) -> None:
    with server(tmp_path) as url:
        (tmp_path / "ca.crt").write_bytes(Authority().certificate)
        failure = await answer_to(url, tmp_path)
    assert isinstance(failure, Failure)
    assert "certificate verify failed" in failure.cause


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prometheus_username": "u"}, "prometheus_username and prometheus_password_file belong together"),
        ({"prometheus_password_file": "p"}, "prometheus_username and prometheus_password_file belong together"),
        (
            {"prometheus_username": "u", "prometheus_password_file": "p", "prometheus_token_file": "t"},
            "prometheus_username and prometheus_token_file exclude each other",
        ),
        ({"prometheus_client_certificate_file": "c"}, "belong together"),
        (
            {"prometheus_username": "a:b", "prometheus_password_file": "p"},
            "prometheus_username is 'a:b': basic authentication allows no colon",
        ),
        ({"prometheus_url": "https://u:s3cret@p"}, "prometheus_url has a user or a password in it"),
        (
            {"prometheus_client_certificate_file": "no.crt", "prometheus_client_key_file": "no.key"},
            "prometheus_client_certificate_file no.crt and prometheus_client_key_file no.key cannot be read",
        ),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(settings: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        PrometheusClient.from_settings(Settings(**settings))
    assert "s3cret" not in str(refused.value)


async def test_a_password_that_is_not_there_yet_is_a_failure_and_not_the_end(tmp_path: Path) -> None:
    with server(tmp_path) as url:
        failure = await answer_to(
            url, tmp_path, prometheus_username="reader", prometheus_password_file=tmp_path / "late"
        )
    assert isinstance(failure, Failure)
    assert "the credentials for Prometheus cannot be read" in failure.cause
