"""Models that mean harm, on the hub or on the claim: whoever may name a model decides what the operator reads.

Each ends in time, within a stated growth of memory, in facts or in one line.
"""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lookup.checkpoints import CONFIG, one_file
from lookup.hub_server import COMMIT, Hub, sends, serving
from security.bounded import bounded
from security.hostile import HOSTILE, unsafe_in_a_line
from security.placed import full
from security.spoken import spoken

from specdecode.engine.checkpoint.config import facts_of_config
from specdecode.engine.checkpoint.safetensors import files_of_index
from specdecode.judge import prepare
from specdecode.lookup.find import Sources, Wanted, look_up
from specdecode.lookup.hub import HubOptions
from specdecode.manifests.build import Options

MIB = 1024**2
SECONDS, GROWTH_MIB = 8.0, 350.0
"""For one model; the look-up itself ends after 20 s."""
MODEL = "model.safetensors"
INDEX = "model.safetensors.index.json"
F32 = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def config(**changes: Any) -> bytes:
    return json.dumps({**CONFIG, **changes}).encode()


def many(entry: Callable[[int], bytes], count: int) -> bytes:
    return b"{" + b",".join(entry(number) for number in range(count)) + b"}"


FILES: dict[str, Callable[[], dict[str, bytes]]] = {
    "a config of lists in lists": lambda: {"config.json": b'{"a":' + b"[" * (9 * MIB)},
    "a config of a few hundred lists in lists": lambda: {
        "config.json": b'{"model_type":"llama","hidden_size":' + b"[" * 900 + b"]" * 900 + b"}",
    },
    "a config of empty lists": lambda: {"config.json": b'{"a":[' + b"[]," * (3 * MIB) + b"[]]}"},
    "a config of a million names": lambda: {"config.json": many(lambda n: b'"%x":1' % n, 900_000)},
    "a config of 9 million digits": lambda: {"config.json": b'{"hidden_size":' + b"9" * (9 * MIB) + b"}"},
    "a config that is too large": lambda: {"config.json": b" " * (11 * MIB)},
    "a config of zeros": lambda: {"config.json": b"\0" * MIB},
    "a million layers": lambda: {"config.json": config(num_hidden_layers=1_000_000)},
    "a million kinds of layers": lambda: {"config.json": config(layer_types=["full_attention"] * 500_000)},
    "a header of lists in lists": lambda: {MODEL: header(b"[" * (20 * MIB))},
    "a header of empty lists": lambda: {MODEL: header(b"{" + b'"a":[],' * (10 * MIB) + b'"b":[]}')},
    "a header of three million tensors": lambda: {MODEL: header(many(lambda n: b'"%x":' % n + F32, 1_500_000))},
    "a header of 100,000 tensors": lambda: {MODEL: header(many(lambda n: b'"%x":' % n + F32, 100_000))},
    "a header without an end": lambda: {MODEL: (2**63).to_bytes(8, "little")},
    "a header that is cut off": lambda: {MODEL: (1000).to_bytes(8, "little") + b"{"},
    "a layer of 5,000 digits": lambda: {MODEL: header(b'{"layers.' + b"9" * 5_000 + b'.x":' + F32 + b"}")},
    "a shape of 4,000 digits": lambda: {
        MODEL: header(b'{"a":{"dtype":"F32","shape":[' + b"9" * 4_000 + b",8" * 9 + b'],"data_offsets":[0,4]}}'),
    },
    "a shape of a million sides": lambda: {
        MODEL: header(b'{"a":{"dtype":"F32","shape":[' + b"9," * MIB + b'9],"data_offsets":[0,4]}}'),
    },
    "offsets that go back": lambda: {MODEL: header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}')},
    "an index of 300,000 files": lambda: {
        INDEX: b'{"weight_map":' + many(lambda n: b'"%x":"%x.safetensors"' % (n, n), 300_000) + b"}",
    },
    "an index to elsewhere": lambda: {INDEX: b'{"weight_map":{"a":"../../etc/passwd"}}'},
    "an index to nothing": lambda: {INDEX: b'{"weight_map":{"a":"b.safetensors"}}'},
    "an index of lists": lambda: {INDEX: b'{"weight_map":{"a":[["b"]]}}'},
    "a quantisation of lists": lambda: {"hf_quant_config.json": b"[" * 1000},
}  # fmt: skip


def asked(sources: Sources, name: str) -> str:
    wanted = Wanted("spec.model", name)
    return str(look_up([wanted], sources)[wanted.key])


def check(said: str) -> None:
    assert said.startswith(("spec.model.name is ", "ModelFacts("))
    assert len(said) < 4000
    assert not unsafe_in_a_line(said)


@pytest.mark.parametrize("name", FILES)
def test_a_mounted_model_ends(name: str, tmp_path: Path) -> None:
    directory = tmp_path / "own"
    directory.mkdir()
    for file, text in {**one_file(), **FILES[name]()}.items():
        (directory / file).write_bytes(text)
    sources = Sources(models_directory=tmp_path)
    check(bounded(lambda: asked(sources, "/models/own"), seconds=SECONDS, mebibytes=GROWTH_MIB))


def test_a_mounted_model_may_be_a_pipe_or_the_world(tmp_path: Path) -> None:
    directory = tmp_path / "own"
    directory.mkdir()
    for name in ("config.json", MODEL):
        for target in ("/dev/zero", "/etc/passwd", "/proc/self/environ", str(directory / name), ".."):
            for file, text in one_file().items():
                (directory / file).unlink(missing_ok=True)
                (directory / file).write_bytes(text)
            (directory / name).unlink()
            (directory / name).symlink_to(target)
            said = bounded(lambda: asked(Sources(models_directory=tmp_path), "/models/own"), seconds=1, mebibytes=20)
            check(said)
            assert said.startswith("spec.model.name is ")
    (directory / MODEL).unlink()
    os.mkfifo(directory / MODEL)
    check(bounded(lambda: asked(Sources(models_directory=tmp_path), "/models/own"), seconds=1, mebibytes=20))


LISTED = "/api/models/own/model/revision/"
HUBS: dict[str, Callable[[], dict[str, Any]]] = {
    "a list of half a million files": lambda: {
        LISTED: sends(200, b'{"siblings":[' + b'{"rfilename":"a"},' * 500_000 + b"{}]}"),
    },
    "a list of empty lists": lambda: {LISTED: sends(200, b'{"siblings":[' + b"[]," * (3 * MIB) + b"[]]}")},
    "a list of lists in lists": lambda: {LISTED: sends(200, b'{"siblings":' + b"[" * (9 * MIB))},
    "a list that is a word": lambda: {LISTED: sends(200, b'{"siblings":"config.json","sha":["x"]}')},
    "a commit that goes elsewhere": lambda: {
        LISTED: sends(200, b'{"siblings":[{"rfilename":"config.json"}],"sha":"../../../x?y#z\\u001b"}'),
    },
    "gzip in gzip": lambda: {
        LISTED: sends(200, gzip.compress(gzip.compress(bytes(100 * MIB))), Content_Encoding="gzip, gzip"),
    },
    "much in gzip": lambda: {LISTED: sends(200, gzip.compress(bytes(200 * MIB)), Content_Encoding="gzip")},
    "an answer that drips": lambda: {LISTED: "drip"},
    "headers that drip": lambda: {LISTED: "drip_headers"},
    "an error of escapes": lambda: {
        LISTED: sends(404, b"\x1b[2J" * MIB, X_Error_Code="\x1b[2J", X_Error_Message="\x1b[2J"),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HUBS)
def test_a_hub_ends(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with serving(Hub(one_file())) as hub:
        hub.moods = {path: getattr(hub, mood) if isinstance(mood, str) else mood for path, mood in HUBS[name]().items()}
        sources = Sources(is_hub_allowed=True, cache_directory=tmp_path, hub=HubOptions(hub.url, total_seconds=0.7))
        said = bounded(lambda: asked(sources, "own/model"), seconds=SECONDS, mebibytes=GROWTH_MIB)
    check(said)
    assert said.startswith("spec.model.name is ")


@pytest.mark.parametrize("name", ["a header of empty lists", "an index of 300,000 files", "a header without an end"])
def test_hostile_files_of_a_hub_end_like_those_of_a_claim(name: str, tmp_path: Path) -> None:
    ours = ("/api/models/own/", f"/own/model/resolve/{COMMIT}/")
    with serving(Hub({**one_file(), **FILES[name]()})) as hub:
        sources = Sources(is_hub_allowed=True, cache_directory=tmp_path, hub=HubOptions(hub.url, total_seconds=5.0))
        check(bounded(lambda: asked(sources, "own/model"), seconds=SECONDS, mebibytes=GROWTH_MIB))
    assert len(hub.asked) < 20
    assert [request.path for request in hub.asked if not request.path.startswith(ours)] == []


LARGER = {**CONFIG, "vocab_size": 128_256, "max_position_embeddings": 131_072}
KEYS = (*CONFIG, "quantization_config", "text_config", "layer_types", "rope_scaling", "num_experts", "head_dim")
ODD: tuple[Any, ...] = (
    *(0, -1, 10**18, 10**400, True, 0.5, float("nan"), float("inf"), None, [], {}, [[]], {"quant_method": []}),
    *HOSTILE,
    *([text] for text in HOSTILE),
    *({"quant_method": text} for text in HOSTILE),
)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_a_config_may_hold_anything(key: str) -> None:
    body = full()
    body["spec"]["model"].pop("facts")
    taken = 0
    for value in ODD:
        found = facts_of_config("acme/target", {**LARGER, key: value}, source="the hub")
        prepared = prepare(body, Options(), {("acme/target", "main"): found})
        taken += prepared.plan is not None
        for said in (str(prepared.refusal or ""), *spoken(prepared, body)):
            assert not unsafe_in_a_line(said), (value, said)
            assert len(said) <= 4096
    assert taken or key not in {"architectures", "quantization_config", "text_config", "rope_scaling"}


def test_an_index_lists_no_more_files_than_are_read() -> None:
    names = {f"t{number}": f"{number}.safetensors" for number in range(1001)}
    found = files_of_index(json.dumps({"weight_map": names}).encode(), INDEX)
    assert str(found) == f"{INDEX}: lists 1001 files, more than the 1000 that are read"
    names.pop("t0")
    assert isinstance(files_of_index(json.dumps({"weight_map": names}).encode(), INDEX), tuple)
