"""The engine environment without vLLM: what would be installed, when it counts as complete, what a failure says."""

import os
import sys
import threading
from pathlib import Path

import pytest

from rehearsal.vllm import recipe
from rehearsal.vllm.environment import EngineEnvironment, EnvironmentMissingError, engine_folder, ensure
from rehearsal.vllm.serve import on_loopback
from specdecode.engine.startup_log import StartupLog, parse_startup_log

LOGS = Path(__file__).parents[1] / "data/engine/logs"


@pytest.mark.parametrize(
    ("declared", "installed"),
    [
        pytest.param("numpy", ["numpy"], id="a plain requirement is kept"),
        pytest.param("lark==1.2.2", ["lark==1.2.2"], id="a pin is kept"),
        pytest.param("fastapi[standard]>=0.133", ["fastapi[standard]>=0.133"], id="extras of a requirement are kept"),
        pytest.param('torch==2.13.0+cpu; platform_machine == "nowhere"', [], id="another machine's is left out"),
        pytest.param("torch==2.13.0+cpu", [f"torch=={recipe.TORCH}"], id="torch comes from the index"),
        pytest.param("torchvision==0.28.0+cpu", [], id="pictures are left out"),
        pytest.param('ray; extra == "ray"', [], id="an extra of the wheel is left out"),
        pytest.param('pyyaml; python_version >= "3.11"', ["pyyaml"], id="a marker that holds is dropped"),
    ],
)
def test_what_is_installed_beside_the_wheel(declared: str, installed: list[str]) -> None:
    assert list(recipe.requirements([declared])) == installed


def test_the_constraints_pin_each_package_once() -> None:
    lines = [line for line in recipe.CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    names = [line.split("==")[0].lower() for line in lines]
    assert len(names) == len(set(names)) > 100
    assert all(line.count("==") == 1 for line in lines)
    assert not {"torch", recipe.DISTRIBUTION, recipe.OFFICIAL} & set(names)


def test_another_recipe_is_another_environment() -> None:
    assert recipe.digest("a==1") == recipe.digest("a==1")
    assert recipe.digest("a==1") != recipe.digest("a==2")


def test_the_folder_is_below_the_cache_of_the_user(tmp_path: Path) -> None:
    assert engine_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "specdecode/engine/vllm-0.32.0"
    assert engine_folder({}) == Path.home() / ".cache/specdecode/engine/vllm-0.32.0"


def complete(folder: Path, marker: str) -> EngineEnvironment:
    folder.mkdir(parents=True)
    (folder / ".complete").write_text(marker)
    return EngineEnvironment(folder)


def test_an_environment_of_this_recipe_is_used_as_it_is(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    made = complete(engine_folder(environment), recipe.digest(recipe.CONSTRAINTS.read_text()))
    said: list[str] = []
    assert ensure(environment, said.append) == made
    assert said == []


def test_one_of_another_recipe_or_without_a_marker_is_not(tmp_path: Path) -> None:
    assert not complete(tmp_path / "old", "another recipe").is_complete
    assert not EngineEnvironment(tmp_path / "half").is_complete


def test_what_pip_says_when_it_fails_reaches_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no space left on device\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    half_made = engine_folder(environment) / "left-over"
    half_made.mkdir(parents=True)
    with pytest.raises(EnvironmentMissingError, match="ended with 3") as failure:
        ensure(environment, lambda _: None)
    assert "no space left on device" in str(failure.value)
    assert "XDG_CACHE_HOME" in str(failure.value)
    assert not half_made.exists()


def test_a_machine_that_cannot_run_it_is_told_so_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(EnvironmentMissingError, match="Linux on x86_64, and this is Linux on aarch64"):
        ensure({"XDG_CACHE_HOME": str(tmp_path)}, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_of_two_at_once_the_second_waits_and_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one holds the lock until the second says that it waits."""
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    made: list[Path] = []
    waits = threading.Event()
    begun = threading.Event()

    def make(folder: Path, *_: object) -> None:
        begun.set()
        assert waits.wait(10)
        made.append(folder)
        complete(folder, recipe.digest(recipe.CONSTRAINTS.read_text()))

    monkeypatch.setattr("rehearsal.vllm.environment._make", make)
    first = threading.Thread(target=ensure, args=(environment, lambda _: None))
    first.start()
    assert begun.wait(10)
    ensure(environment, lambda _: waits.set())
    first.join(10)
    assert made == [engine_folder(environment)]


def test_the_newest_release_shares_the_python_and_nothing_else(tmp_path: Path) -> None:
    environment = EngineEnvironment(tmp_path)
    assert environment.newest.python == environment.running.python
    assert "PYTHONPATH" not in environment.running.variables
    assert environment.newest.variables["PYTHONPATH"] == str(tmp_path / "newest")
    assert environment.newest.variables["VLLM_CACHE_ROOT"] != environment.running.variables["VLLM_CACHE_ROOT"]


def test_a_pod_s_command_line_listens_on_this_machine_only() -> None:
    arguments = ("--model=/models/a", "--host=0.0.0.0", "--port=8000", "--enforce-eager")
    assert list(on_loopback(arguments, 4321)) == [
        "--model=/models/a",
        "--host=127.0.0.1",
        "--port=4321",
        "--enforce-eager",
    ]


def test_the_kept_log_of_a_start_on_cpu_is_read() -> None:
    """297,856 = 128 x (1,067,636,451 // (128 x 3,584)): the bytes that the plan pinned, at its bytes per token."""
    log = parse_startup_log((LOGS / "vllm-0.32.0-cpu-draft.log").read_text())
    assert isinstance(log, StartupLog)
    assert log.device == "CPU"
    assert log.is_kv_cache_pinned
    assert log.kv_cache_bytes is not None
    assert log.kv_cache_tokens == 128 * (log.kv_cache_bytes // (128 * 3584)) == 297_856
    assert log.speculation is not None
    assert (log.speculation.method, log.speculation.num_speculative_tokens) == ("draft_model", 3)
