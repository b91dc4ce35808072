"""Repositories of a hub, over real HTTP, with everything a hub or a proxy may do."""

import gzip
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lookup.checkpoints import CONFIG, PARAMETERS, one_file, safetensors, two_files
from lookup.hub_server import COMMIT, Behaviour, Hub, send, sends, serving

from specdecode.api.resource import Problem
from specdecode.engine.facts import ModelFacts
from specdecode.lookup.find import Sources, Wanted, look_up
from specdecode.lookup.hub import HubOptions

RESOLVE = f"/own/model/resolve/{COMMIT}/"
LIST = "/api/models/own/model"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token, proxy or cache of whoever runs the tests."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(two_files())) as running:
        yield running


def sources(hub: Hub, *, total_seconds: float = 5.0, **options: int) -> Sources:
    return Sources(is_hub_allowed=True, hub=HubOptions(hub.url, total_seconds=total_seconds, **options))


def found(allowed: Sources, name: str = "own/model", revision: str | None = None) -> ModelFacts | Problem:
    wanted = Wanted("spec.model", name, revision)
    return look_up([wanted], allowed)[wanted.key]


def facts(allowed: Sources, name: str = "own/model", revision: str | None = None) -> ModelFacts:
    answer = found(allowed, name, revision)
    assert isinstance(answer, ModelFacts), answer
    return answer


def refusal(allowed: Sources, name: str = "own/model", revision: str | None = None) -> str:
    answer = found(allowed, name, revision)
    assert isinstance(answer, Problem), answer
    assert (answer.field, answer.value) == ("spec.model.name", name)
    return answer.message


class TestGoodRepositories:
    def test_config_and_headers_of_every_file_are_read(self, hub: Hub) -> None:
        answer = facts(sources(hub))
        assert (answer.parameters, answer.num_hidden_layers) == (PARAMETERS, 2)
        assert answer.source == f"127.0.0.1/own/model at {COMMIT[:12]}"

    def test_one_file_without_an_index(self, hub: Hub) -> None:
        hub.files = one_file()
        assert facts(sources(hub)).parameters == PARAMETERS

    def test_the_endpoint_of_the_environment(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f"{hub.url}/")
        assert facts(Sources(is_hub_allowed=True)).parameters == PARAMETERS

    def test_the_revision_is_asked_for_and_its_commit_is_read(self, hub: Hub) -> None:
        facts(sources(hub), revision="v1.0")
        assert hub.asked[0].path == "/api/models/own/model/revision/v1.0"
        assert all(request.path.startswith(RESOLVE) for request in hub.asked[1:])

    def test_a_long_header_is_asked_for_again(self, hub: Hub) -> None:
        hub.files = one_file() | {"model.safetensors": safetensors(padding=600_000)}
        assert facts(sources(hub)).parameters == PARAMETERS
        assert len({request.range for request in hub.asked if request.range}) == 2

    def test_a_server_that_knows_no_ranges(self, hub: Hub) -> None:
        hub.honours_range = False
        hub.files = one_file() | {"model.safetensors": safetensors(padding=600_000)}
        assert facts(sources(hub)).parameters == PARAMETERS

    def test_a_huge_file_is_not_read(self, hub: Hub) -> None:
        sent = []

        def endless(handler: object) -> None:
            handler.send_response(200)  # type: ignore[attr-defined] # a request handler
            handler.end_headers()  # type: ignore[attr-defined] # a request handler
            handler.wfile.write(safetensors(body=False))  # type: ignore[attr-defined] # a request handler
            while not hub.stopping.is_set():
                sent.append(handler.wfile.write(bytes(65536)))  # type: ignore[attr-defined] # a request handler

        hub.files = one_file()
        hub.moods[f"{RESOLVE}model.safetensors"] = endless
        assert facts(sources(hub)).parameters == PARAMETERS
        assert sum(sent) < 50_000_000

    def test_quantisation_in_a_file_of_its_own(self, hub: Hub) -> None:
        hub.files["hf_quant_config.json"] = json.dumps({"quantization": {"quant_algo": "NVFP4"}}).encode()
        assert facts(sources(hub)).quantization == "modelopt_fp4"

    def test_weights_may_be_stored_elsewhere_and_do_not_get_the_token(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        hub.files = one_file()
        with serving(Hub(one_file())) as store:
            target = f"{store.url}{RESOLVE}model.safetensors"
            hub.moods[f"{RESOLVE}model.safetensors"] = sends(302, Location=target)
            assert facts(sources(hub)).parameters == PARAMETERS
            assert {request.token for request in hub.asked} == {"Bearer hf_secret"}
            assert [request.token for request in store.asked] == [None]

    def test_a_renamed_repository_is_followed(self, hub: Hub) -> None:
        hub.moods["/api/models/old/name"] = sends(307, Location="/api/models/own/model/revision/main")
        hub.moods["/old/name/resolve"] = lambda handler: send(
            handler, 307, b"", {"Location": handler.path.replace("/old/name/", "/own/model/")}
        )
        assert facts(sources(hub), "old/name").parameters == PARAMETERS

    def test_compressed_answers(self, hub: Hub) -> None:
        packed = gzip.compress(json.dumps(CONFIG).encode())
        hub.moods[f"{RESOLVE}config.json"] = sends(200, packed, Content_Encoding="gzip")
        assert facts(sources(hub)).parameters == PARAMETERS


HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.mark.parametrize(
    ("path", "mood", "says"),
    [
        pytest.param(LIST, sends(401), "set HF_TOKEN", id="401"),
        pytest.param(LIST, sends(403), "is not allowed to this token", id="403"),
        pytest.param(LIST, sends(404), "does not exist on the hub, or is private", id="404"),
        pytest.param(LIST, sends(401, x_error_code="RepoNotFound"), "check the spelling", id="no such repository"),
        pytest.param(LIST, sends(404, x_error_code="RevisionNotFound"), "has no such revision", id="no such revision"),
        pytest.param(RESOLVE, sends(403, x_error_code="GatedRepo"), "is gated: accept its licence", id="gated"),
        pytest.param(RESOLVE, sends(404, x_error_code="EntryNotFound"), "lacks the file (config.json", id="no file"),
        pytest.param(LIST, sends(429), "asked too often", id="429"),
        pytest.param(LIST, sends(503), "the hub failed; try later", id="503"),
        pytest.param(
            LIST, sends(418), "the hub refused the request (the list of files, HTTP 418)", id="another status"
        ),
        pytest.param(LIST, sends(200, HTML), "the list of files is HTML", id="HTML instead of the list"),
        pytest.param(f"{RESOLVE}config.json", sends(200, HTML), "config.json is HTML", id="HTML instead of the config"),
        pytest.param(f"{RESOLVE}config.json", sends(200, b'{"a": '), "config.json is no JSON object", id="broken JSON"),
        pytest.param(f"{RESOLVE}config.json", sends(200, b"[]"), "config.json is no JSON object", id="a JSON list"),
        pytest.param(
            f"{RESOLVE}config.json", sends(200, b" " * 10_000_001), "more than the 10000000", id="a huge config"
        ),
        pytest.param(
            f"{RESOLVE}config.json",
            sends(200, gzip.compress(bytes(50_000_000)), Content_Encoding="gzip"),
            "more than the 10000000",
            id="a small answer that unpacks to a huge one",
        ),
        pytest.param(
            f"{RESOLVE}model-0", sends(200, HTML), "is no length of a safetensors header", id="HTML for weights"
        ),
        pytest.param(f"{RESOLVE}model-0", sends(200, b""), "is no safetensors file", id="empty weights"),
        pytest.param(f"{RESOLVE}model-0", sends(404), "does not exist", id="weights that are gone"),
        pytest.param(
            LIST, sends(302, Location="http://login.example/"), "redirects to login.example", id="a login page"
        ),
        pytest.param(
            f"{RESOLVE}model-0", sends(302, Location="ftp://files.example/"), "redirects to ftp:", id="to ftp"
        ),
        pytest.param(LIST, sends(302, Location=LIST), "redirects more than 5 times", id="round in circles"),
        pytest.param(LIST, sends(302, Location="http://[::bad"), "cannot be reached", id="to nowhere"),
        pytest.param(LIST, sends(200, b"not gzip", Content_Encoding="gzip"), "cannot be reached", id="broken encoding"),
    ],
)
def test_what_a_hub_may_answer_instead(hub: Hub, path: str, mood: Behaviour, says: str) -> None:
    hub.moods[path] = mood
    assert says in refusal(sources(hub))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param({"README.md": b""}, "it has no config.json", id="no model"),
        pytest.param({"adapter_config.json": b"{}"}, "not of an adapter", id="an adapter"),
        pytest.param(
            {"config.json": json.dumps(CONFIG).encode(), "model.Q4_K_M.gguf": b""},
            "no .safetensors files but files of the kind gguf",
            id="GGUF only",
        ),
        pytest.param(
            {"config.json": json.dumps(CONFIG).encode(), "pytorch_model.bin": b"", "sub/model.safetensors": b""},
            "no .safetensors files but files of the kind bin",
            id="pickles only",
        ),
        pytest.param(
            {"config.json": json.dumps({"architectures": ["MambaForCausalLM"]}).encode()} | one_file(), None, id="fine"
        ),
        pytest.param(
            one_file() | {"config.json": json.dumps({"architectures": ["MambaForCausalLM"]}).encode()},
            "recurrent state",
            id="an architecture that cannot be planned",
        ),
    ],
)
def test_repositories_of_another_kind(hub: Hub, files: dict[str, bytes], says: str | None) -> None:
    hub.files = files
    if says is None:
        assert facts(sources(hub)).parameters == PARAMETERS
    else:
        assert says in refusal(sources(hub))


class TestTime:
    @pytest.mark.parametrize(
        "path",
        [
            pytest.param(LIST, id="the list"),
            pytest.param(f"{RESOLVE}config.json", id="the configuration"),
            pytest.param(f"{RESOLVE}model-00002", id="one of the files"),
        ],
    )
    @pytest.mark.parametrize("mood", ["hang", "drip", "drip_headers"])
    def test_it_ends_in_time(self, hub: Hub, path: str, mood: str) -> None:
        hub.moods[path] = getattr(hub, mood)
        started = time.monotonic()
        assert "within 0.6 s" in refusal(sources(hub, total_seconds=0.6))
        assert time.monotonic() - started < 3

    def test_a_port_that_nobody_answers(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            closed = f"http://127.0.0.1:{listener.getsockname()[1]}"
        message = refusal(Sources(is_hub_allowed=True, hub=HubOptions(closed)))
        assert "127.0.0.1 cannot be reached" in message
        assert "HF_ENDPOINT" in message

    def test_a_host_that_does_not_exist(self) -> None:
        message = refusal(Sources(is_hub_allowed=True, hub=HubOptions("http://hub.invalid", total_seconds=5)))
        assert "hub.invalid" in message

    def test_an_endpoint_that_is_no_address(self) -> None:
        assert "cannot be reached" in refusal(Sources(is_hub_allowed=True, hub=HubOptions("nonsense")))

    def test_offline_by_wish(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert "HF_HUB_OFFLINE is set" in refusal(sources(hub))
        assert hub.asked == []

    def test_all_requests_of_a_model_share_one_allowance(self, hub: Hub) -> None:
        assert "more than the" in refusal(sources(hub, max_total_bytes=1000))


@pytest.mark.parametrize("name", ["own/model.git", "own/model.", "a..b/c"])
def test_a_name_that_no_repository_has(hub: Hub, name: str) -> None:
    assert "is no name of a repository" in refusal(sources(hub), name)
    assert hub.asked == []


class TestCache:
    def test_the_second_look_asks_nobody(self, hub: Hub) -> None:
        first = facts(sources(hub))
        hub.asked.clear()
        assert facts(sources(hub)) == first
        assert hub.asked == []

    def test_another_revision_is_another_entry(self, hub: Hub) -> None:
        facts(sources(hub))
        facts(sources(hub), revision="v2")
        assert [request.path for request in hub.asked if "/api/" in request.path] == [
            "/api/models/own/model/revision/main",
            "/api/models/own/model/revision/v2",
        ]

    def test_a_refusal_is_not_kept(self, hub: Hub) -> None:
        hub.moods[LIST] = sends(503)
        refusal(sources(hub))
        hub.moods.clear()
        assert facts(sources(hub)).parameters == PARAMETERS

    @pytest.mark.parametrize(
        ("revision", "asks"),
        [pytest.param("main", True, id="a branch may move"), pytest.param("d" * 40, False, id="a commit does not")],
    )
    def test_after_two_days(self, hub: Hub, tmp_path: Path, revision: str, *, asks: bool) -> None:
        facts(sources(hub), revision=revision)
        hub.asked.clear()
        (entry,) = (tmp_path / "cache" / "specdecode" / "models").glob("*/*.json")
        past = time.time() - 2 * 24 * 3600
        os.utime(entry, (past, past))
        facts(sources(hub), revision=revision)
        assert bool(hub.asked) is asks

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 0}', '{"format": 1, "config": {}, "tensors": [1]}'])
    def test_a_broken_entry_is_asked_for_again(self, hub: Hub, tmp_path: Path, text: str) -> None:
        facts(sources(hub))
        (entry,) = (tmp_path / "cache" / "specdecode" / "models").glob("*/*.json")
        entry.write_text(text)
        assert facts(sources(hub)).parameters == PARAMETERS

    def test_a_place_of_ones_own(self, hub: Hub, tmp_path: Path) -> None:
        facts(replace(sources(hub), cache_directory=tmp_path / "own"))
        assert len(list((tmp_path / "own").glob("*/own--model@main.json"))) == 1
        assert not (tmp_path / "cache").exists()

    def test_a_place_that_cannot_be_written_is_done_without(self, hub: Hub, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert facts(replace(sources(hub), cache_directory=tmp_path / "file")).parameters == PARAMETERS

    def test_nor_is_a_home_needed(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        def homeless() -> Path:
            raise RuntimeError

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", homeless)
        assert facts(sources(hub)).parameters == PARAMETERS
