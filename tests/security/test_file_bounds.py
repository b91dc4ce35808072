"""Files that mean harm, given to a command: each ends in time, within a stated growth of memory, with one complaint and
no traceback.
"""

import json
from pathlib import Path

import pytest
from security.bounded import bounded
from security.hostile import HOSTILE, unsafe_in_a_line
from security.placed import full
from typer.testing import CliRunner

from specdecode.api.words import escaped_json
from specdecode.cli import app

MIB = 1024**2
SECONDS, GROWTH_MIB = 5.0, 150.0
"""PyYAML takes ten seconds for 1 MiB of nothing but brackets, which is the largest file."""

_HEAD = "apiVersion: specdecode.io/v1alpha1\nkind: SpecDecodeDeployment\nmetadata: {name: x}\n"
_LAUGHS = "".join(
    f"  l{level}: &l{level} [{', '.join([f'*l{level - 1}' if level else 'ha'] * 10)}]\n" for level in range(30)
)


def _spec(**fields: object) -> str:
    return json.dumps({**full(), "spec": {**full()["spec"], **fields}})


FILES: dict[str, bytes] = {
    "nothing": b"",
    "no text": bytes(range(256)),
    "zeros": b"\0" * MIB,
    "ten million characters": b"a" * 10_000_000,
    "a list in a list": b"[" * 5_000,
    "an object in an object": b"{a: " * 5_000,
    "aliases of aliases in the spec": f"{_HEAD}spec:\n{_LAUGHS}".encode(),
    "aliases of aliases in the status": f"{_HEAD}status:\n{_LAUGHS}spec: {{}}\n".encode(),
    "aliases of aliases as the name": f"x:\n{_LAUGHS}{_HEAD.replace('x}', '*l29 }')}spec: {{}}".encode(),
    "aliases of aliases as the kind": f"x:\n{_LAUGHS}kind: *l29\napiVersion: *l29\n".encode(),
    "aliases of aliases and no object": "\n".join(
        f"- &l{level} [{', '.join([f'*l{level - 1}' if level else 'ha'] * 10)}]" for level in range(30)
    ).encode(),
    "128 KiB of lists": _HEAD.encode() + b"spec: [" + b"[]," * 43_000 + b"[]]",
    "a spec that holds itself": f"{_HEAD}spec: &s {{model: *s}}\n".encode(),
    "a list that holds itself": b"&l [*l]",
    "a date that is none": b"a: 2026-99-99",
    "an integer of 10,000 digits": f"{_HEAD}spec: {{replicas: {'9' * 10_000}}}".encode(),
    "the same in hexadecimal": f"{_HEAD}spec: {{replicas: 0x{'f' * 10_000}}}".encode(),
    "an integer to the base of 60": f"{_HEAD}spec: {{replicas: 1{':59' * 2_000}}}".encode(),
    "not a number": f"{_HEAD}spec: {{replicas: .nan, engine: {{maxModelLen: .inf}}}}".encode(),
    "a tag of Python": b"!!python/object/apply:os.system [id]",
    "a tag that does not fit": b"a: !!timestamp foo",
    "another tag that does not fit": b"a: !!int ''",
    "a tag of bool": b"a: !!bool foo",
    "a tag of binary": b"a: !!binary \xc3\xa9",
    "keys that are lists": b"? [a]\n: b",
    "keys that are numbers": f"{_HEAD}spec: {{1: 2, null: 3, 2026-11-22: 4, true: 5}}".encode(),
    "sets and pairs": f"{_HEAD}spec: {{model: !!set {{a, b}}, engine: !!omap [a: b]}}".encode(),
    "10,000 unknown fields": _spec(**{f"x{number}": 1 for number in range(10_000)}).encode(),
    "10,000 arguments": _spec(
        engine={**full()["spec"]["engine"], "extraArgs": [{"name": f"a{number}"} for number in range(10_000)]}
    ).encode(),
    "10,000 labels": _spec(podTemplate={"labels": {f"x{n}": "y" for n in range(10_000)}}).encode(),
    "a text of a million characters": _spec(model={"name": "a" * 1_000_000}).encode(),
    "a duration of a million characters": _spec(guard={"window": "1h" * 500_000}).encode(),
}  # fmt: skip


def _run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("name", FILES)
def test_a_file_ends_in_a_complaint(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(FILES[name])
    code, printed, said = bounded(lambda: _run("render", "-f", str(file)), seconds=SECONDS, mebibytes=GROWTH_MIB)
    assert (code, printed) == (2, "")
    assert said
    assert len(said) < 20_000
    assert not unsafe_in_a_line(said.replace("\n", ""))


@pytest.mark.parametrize("text", [text for text in HOSTILE if unsafe_in_a_line(text) or "[" in text], ids=ascii)
def test_a_complaint_obeys_nobody(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    bodies = (
        {**full(), "kind": text},
        {**full(), "metadata": {"name": text}},
        {**full(), "spec": {**full()["spec"], text: text}},
        {**full(), "spec": {"model": {"name": text}}},
        {"kind": text},
        text,
    )
    for body in bodies:
        file.write_text(json.dumps(body), encoding="utf-8")
        code, _, said = _run("render", "-f", str(file))
        assert code in (0, 2)  # null and yes are names, too
        assert not unsafe_in_a_line(said.replace("\n", "")), said


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_escaped_json_says_the_same(text: str) -> None:
    written = escaped_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2))
    assert json.loads(written) == {text: [text]}
    assert not unsafe_in_a_line(written.replace("\n", ""))
