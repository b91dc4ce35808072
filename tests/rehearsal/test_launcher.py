"""What stands for vLLM's image: the pod's own command line, on its address, with the models of the rehearsal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.vllm.launcher import Launcher, LaunchError

ARGUMENTS = (
    "--model=/models/target",
    "--served-model-name=/models/target",
    "--max-model-len=2048",
    '--speculative-config={"model":"/models/draft","num_speculative_tokens":3}',
    "--host=0.0.0.0",
    "--port=8000",
    "--enable-prefix-caching",
)
ECHO = """#!/bin/sh
echo "$@"
env
"""


def launcher(tmp_path: Path) -> Launcher:
    """A launcher whose engine tells what it was started with."""
    python = tmp_path / "python"
    python.write_text(ECHO)
    python.chmod(0o755)
    for name in ("models", "scratch"):
        (tmp_path / name).mkdir()
    # Short, whatever the test's own folder is called.
    return Launcher(python, tmp_path / "models", Path("/tmp/v"), {"VLLM_CACHE_ROOT": "/cache"})


def started(launcher: Launcher, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*launcher.program(), *arguments],
        env={"PATH": os.environ["PATH"], "REHEARSAL_POD_IP": "127.9.8.7"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_engine_gets_the_pod_s_own_arguments_on_the_pod_s_address(tmp_path: Path) -> None:
    models = tmp_path / "models"
    answer = started(launcher(tmp_path), *ARGUMENTS)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[0].split() == [
        *("-P", "-m", "vllm.entrypoints.openai.api_server"),
        f"--model={models}/target",
        "--served-model-name=/models/target",
        "--max-model-len=2048",
        f'--speculative-config={{"model":"{models}/draft","num_speculative_tokens":3}}',
        "--host=127.9.8.7",
        "--port=8000",
        "--enable-prefix-caching",
    ]


@pytest.mark.parametrize(
    ("pod", "engine"),
    [
        pytest.param({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE=1", id="a variable of the pod is passed on"),
        pytest.param({"HF_HOME": "/models"}, "HF_HOME={models}", id="the mount itself is the folder"),
        pytest.param({"A": "/models/x"}, "A={models}/x", id="what lies below the mount lies below the folder"),
        pytest.param({"A": "/models-of-mine"}, "A=/models-of-mine", id="another folder is left alone"),
        pytest.param({"HOME": "/home/vllm"}, "HOME=/tmp/v", id="home is a folder that exists"),
        pytest.param({}, "VLLM_CACHE_ROOT=/cache", id="the environment's own cache is used"),
        pytest.param({}, "VLLM_CPU_OMP_THREADS_BIND=nobind", id="two engines do not bind threads to one core"),
    ],
)
def test_what_the_engine_finds_in_its_environment(tmp_path: Path, pod: dict[str, str], engine: str) -> None:
    answer = started(launcher(tmp_path), *ARGUMENTS, **pod)
    assert engine.format(models=tmp_path / "models") in answer.stdout.splitlines()[1:]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        pytest.param("python", "run `make engine`", id="no engine environment"),
        pytest.param("models", "the folder", id="no models"),
    ],
)
def test_what_is_missing_is_said_and_fails_the_container(tmp_path: Path, missing: str, words: str) -> None:
    found = launcher(tmp_path)
    path = tmp_path / missing
    path.rename(tmp_path / "elsewhere")
    answer = started(found, *ARGUMENTS)
    assert answer.returncode == 1
    assert words in answer.stderr
    assert str(path) in answer.stderr


def test_a_scratch_folder_with_a_long_name_is_refused_with_the_way_out(tmp_path: Path) -> None:
    found = launcher(tmp_path)
    long = Launcher(found.python, found.models, Path("/tmp") / ("v" * 60), {})
    with pytest.raises(LaunchError, match=r"65 characters.* allow 60; set TMPDIR"):
        long.check()


def test_the_rehearsal_says_which_engines_there_are() -> None:
    command = [sys.executable, "-m", "rehearsal", "--engine", "steam"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 2
    assert "simulated" in answer.stderr
    assert "vllm" in answer.stderr
