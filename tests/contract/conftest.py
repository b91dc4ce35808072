"""The real vLLM of `make engine`, asked by every test of this folder through one process a release."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.vllm.ask import Asked, asked
from rehearsal.vllm.environment import EngineEnvironment, engine_folder


@pytest.fixture(scope="session")
def engine_environment() -> EngineEnvironment:
    environment = EngineEnvironment(engine_folder(os.environ))
    if not environment.is_complete:
        pytest.fail(f"no complete engine environment in {environment.folder}; run `make engine`")
    return environment


@pytest.fixture(scope="session")
def reference(engine_environment: EngineEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """The release that the plan was measured against."""
    with asked(engine_environment.running, tmp_path_factory.mktemp("reference")) as engine:
        yield engine


@pytest.fixture(scope="session")
def newest(engine_environment: EngineEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """The newest release that the operator knows."""
    with asked(engine_environment.newest, tmp_path_factory.mktemp("newest")) as engine:
        yield engine


@pytest.fixture(scope="session", params=["reference", "newest"])
def engine(request: pytest.FixtureRequest) -> Asked:
    """Each release in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Asked)
    return found


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for directories that stand in for models."""
    return tmp_path_factory.mktemp("models")
