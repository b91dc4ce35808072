"""Models below a mounted directory: read from real files, and never from outside."""

import json
import os
from pathlib import Path

import pytest
from lookup.checkpoints import CONFIG, EMBEDDING, PARAMETERS, one_file, safetensors, two_files

from specdecode.api.resource import Problem
from specdecode.engine.facts import ModelFacts
from specdecode.lookup.find import Sources, Wanted, look_up


def write(directory: Path, files: dict[str, bytes]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_bytes(text)
    return directory


def found(root: Path, name: str = "/models/own", revision: str | None = None) -> ModelFacts | Problem:
    wanted = Wanted("spec.model", name, revision)
    return look_up([wanted], Sources(models_directory=root))[wanted.key]


def facts(root: Path, name: str = "/models/own", revision: str | None = None) -> ModelFacts:
    answer = found(root, name, revision)
    assert isinstance(answer, ModelFacts), answer
    return answer


def refusal(root: Path, name: str = "/models/own", revision: str | None = None) -> str:
    answer = found(root, name, revision)
    assert isinstance(answer, Problem), answer
    assert (answer.field, answer.value) == ("spec.model.name", name)
    return answer.message


@pytest.mark.parametrize("files", [pytest.param(one_file(), id="one file"), pytest.param(two_files(), id="an index")])
def test_a_directory_is_described_by_its_headers(tmp_path: Path, files: dict[str, bytes]) -> None:
    write(tmp_path / "own", files)
    answer = facts(tmp_path)
    assert (answer.name, answer.parameters, answer.num_hidden_layers) == ("/models/own", PARAMETERS, 2)
    assert answer.source == f"files in {tmp_path / 'own'}"


def test_the_tensors_are_not_needed(tmp_path: Path) -> None:
    write(tmp_path / "own", one_file() | {"model.safetensors": safetensors(body=False)})
    assert facts(tmp_path).parameters == PARAMETERS


def test_a_second_copy_in_mistrals_own_format_is_not_counted(tmp_path: Path) -> None:
    write(tmp_path / "own", one_file() | {"consolidated.safetensors": safetensors()})
    assert facts(tmp_path).parameters == PARAMETERS


def test_mistrals_own_format_alone_is(tmp_path: Path) -> None:
    files = {"config.json": json.dumps(CONFIG).encode(), "consolidated.safetensors": safetensors()}
    write(tmp_path / "own", files)
    assert facts(tmp_path).parameters == PARAMETERS


def test_a_directory_below_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "team" / "own", one_file())
    assert facts(tmp_path, "/models/team/own").parameters == PARAMETERS


def test_quantisation_in_a_file_of_its_own(tmp_path: Path) -> None:
    extra = {"hf_quant_config.json": json.dumps({"quantization": {"quant_algo": "FP8"}}).encode()}
    write(tmp_path / "own", one_file() | extra)
    answer = facts(tmp_path)
    assert (answer.quantization, answer.weight_bytes) == ("modelopt", 2 * PARAMETERS)


def cached(root: Path, *, hub: str = "hub") -> Path:
    """A repository as huggingface_hub keeps it: links in a snapshot to blobs beside it."""
    repository = root / hub / "models--own--model"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    write(repository / "refs", {"main": b"a" * 40})
    write(repository / "blobs", {f"blob-{name}": text for name, text in two_files().items()})
    for name in two_files():
        (snapshot / name).symlink_to(Path("../../blobs") / f"blob-{name}")
    return snapshot


@pytest.mark.parametrize("revision", [pytest.param(None, id="main"), pytest.param("a" * 40, id="a commit")])
@pytest.mark.parametrize("hub", ["hub", "."])
def test_a_repository_that_was_downloaded_is_found_in_the_cache(tmp_path: Path, revision: str | None, hub: str) -> None:
    cached(tmp_path, hub=hub)
    assert facts(tmp_path, "own/model", revision).parameters == PARAMETERS


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        pytest.param("own/other", None, id="another repository"),
        pytest.param("own/model", "b" * 40, id="another commit"),
    ],
)
def test_a_repository_that_was_not_downloaded_says_so(tmp_path: Path, name: str, revision: str | None) -> None:
    cached(tmp_path)
    assert "was never downloaded" in refusal(tmp_path, name, revision)


def test_an_interrupted_download_says_so(tmp_path: Path) -> None:
    (cached(tmp_path) / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors is missing, so the download is not complete" in refusal(
        tmp_path, "own/model"
    )


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param({}, "has no config.json", id="an empty directory"),
        pytest.param({"config.json": b"{"}, "config.json is no JSON object", id="broken JSON"),
        pytest.param({"config.json": b"[]"}, "config.json is no JSON object", id="a list"),
        pytest.param({"config.json": b"\xff\xfe"}, "config.json is no JSON object", id="bytes"),
        pytest.param({"config.json": b"<!doctype html>"}, "config.json is HTML", id="a login page that was saved"),
        pytest.param(
            {"config.json": b"version https://git-lfs.github.com/spec/v1"}, "is a Git LFS pointer", id="LFS pointer"
        ),
        pytest.param({"config.json": b" " * 10_000_001}, "more than the 10000000 bytes", id="a huge config.json"),
        pytest.param({"config.json": json.dumps(CONFIG).encode()}, "has no .safetensors files,", id="no weights"),
        pytest.param(
            {"config.json": json.dumps(CONFIG).encode(), "m.gguf": b"", "pytorch_model.bin": b""},
            "but files of the kind bin, gguf",
            id="weights of another kind",
        ),
        pytest.param(one_file() | {"model.safetensors": b""}, "model.safetensors: is no safetensors", id="empty"),
        pytest.param(
            one_file() | {"model.safetensors": b"version https://git-lfs.github.com/spec/v1"},
            "Git LFS",
            id="LFS weights",
        ),
        pytest.param(one_file() | {"model.safetensors": safetensors()[:60]}, "header that is no JSON", id="cut off"),
        pytest.param(
            one_file() | {"model.safetensors.index.json": b"{}"}, "has no weight_map", id="an index of nothing"
        ),
        pytest.param(
            one_file() | {"model.safetensors.index.json": b'{"weight_map": {"a": "../x.safetensors"}}'},
            "is no file name",
            id="an index that leads out",
        ),
        pytest.param(
            one_file() | {f"m{n}.safetensors": b"" for n in range(1001)}, "more than the 1000", id="too many files"
        ),
        pytest.param(
            one_file() | {"config.json": json.dumps({"peft_type": "LORA"}).encode()}, "an adapter", id="an adapter"
        ),
    ],
)
def test_what_cannot_be_read_names_the_file(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    write(tmp_path / "own", files)
    assert says in refusal(tmp_path)


def test_no_directory_of_that_name(tmp_path: Path) -> None:
    assert "is no directory; put the model there" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_link_out_of_the_mounted_directory_is_not_followed(tmp_path: Path, name: str) -> None:
    root = tmp_path / "mount"
    outside = write(tmp_path / "outside", one_file())
    directory = write(root / "own", one_file())
    (directory / name).unlink()
    (directory / name).symlink_to(outside / name)
    assert "leads outside" in refusal(root)


def test_nor_a_link_to_a_directory(tmp_path: Path) -> None:
    root = write(tmp_path / "mount", {})
    (root / "own").symlink_to(write(tmp_path / "outside", one_file()))
    assert "leads outside" in refusal(root)


def test_nor_a_path_with_dots(tmp_path: Path) -> None:
    write(tmp_path / "outside", one_file())
    assert "without .." in refusal(write(tmp_path / "mount", {}), "/models/../outside")


def test_a_link_that_ends_nowhere_is_no_file(tmp_path: Path) -> None:
    (write(tmp_path / "own", {}) / "config.json").symlink_to("nowhere")
    assert "has no config.json" in refusal(tmp_path)


def test_a_link_to_itself_is_no_file(tmp_path: Path) -> None:
    (write(tmp_path / "own", {}) / "config.json").symlink_to("config.json")
    assert "config.json" in refusal(tmp_path)


@pytest.mark.timeout(10)
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(write(tmp_path / "own", {}) / "config.json")
    assert "has no config.json" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    (write(tmp_path / "own", one_file()) / "config.json").chmod(0)
    assert "Permission denied" in refusal(tmp_path)


def test_two_models_are_looked_up_at_once_and_each_has_its_answer(tmp_path: Path) -> None:
    write(tmp_path / "own", one_file())
    target, draft = Wanted("spec.model", "/models/own"), Wanted("spec.speculation.draft", "/models/gone")
    answers = look_up([target, draft, target], Sources(models_directory=tmp_path))
    assert isinstance(answers[target.key], ModelFacts)
    problem = answers[draft.key]
    assert isinstance(problem, Problem)
    assert problem.field == "spec.speculation.draft.name"
    assert problem.value == "/models/gone"


def test_tied_and_stored_twice(tmp_path: Path) -> None:
    tied = json.dumps(CONFIG | {"tie_word_embeddings": True}).encode()
    write(tmp_path / "own", one_file() | {"config.json": tied})
    assert facts(tmp_path).parameters == PARAMETERS - EMBEDDING
