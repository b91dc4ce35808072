"""The real vLLM of `make engine`, asked by every test of this folder through one process a release, and served once."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from contract.pages import Page
from contract.releases import Definitions, definitions
from contract.served import Record, arguments, one_at_a_time, real, record, serving, simulated

from rehearsal.processes import Process, free_ports
from rehearsal.vllm.ask import Asked, asked
from rehearsal.vllm.environment import EngineEnvironment, engine_folder
from rehearsal.vllm.serve import TinyPair, make_tiny_pair


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


@pytest.fixture(scope="session")
def pair(engine_environment: EngineEnvironment, tmp_path_factory: pytest.TempPathFactory) -> TinyPair:
    """A target and a draft that really run."""
    return asyncio.run(make_tiny_pair(engine_environment.running, tmp_path_factory.mktemp("pair")))


@pytest.fixture(scope="session")
def declared(
    engine_environment: EngineEnvironment, pair: TinyPair, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Definitions]:
    """By release: metrics that it declares with a draft, n-gram and neither, and what it says when memory is short."""
    pages = {name: arguments(name, pair) for name in ("draft", "ngram", "off")}
    return {
        engine.release: definitions(engine, tmp_path_factory.mktemp("declared"), pages)
        for engine in (engine_environment.running, engine_environment.newest)
    }


async def _recorded(process: Process, port: int, kind: str) -> Record:
    async with serving(process, port) as client:
        return await record(client, kind)


@pytest.fixture(
    scope="session",
    params=["vLLM with a draft", "vLLM with n-gram", "simulated with a draft", "simulated with n-gram"],
)
def served(
    request: pytest.FixtureRequest,
    engine_environment: EngineEnvironment,
    pair: TinyPair,
    tmp_path_factory: pytest.TempPathFactory,
) -> Record:
    """What an engine said to the questions of `served`: started once for all tests, and stopped."""
    kind = "draft" if request.param.endswith("draft") else "ngram"
    folder, words, (port,) = tmp_path_factory.mktemp("served"), arguments(kind, pair), free_ports(1)
    if request.param.startswith("simulated"):
        return asyncio.run(_recorded(simulated(words, folder, port), port, kind))
    engine = engine_environment.running
    with one_at_a_time(engine):
        return asyncio.run(_recorded(real(engine, words, folder, port), port, kind))


@pytest.fixture(scope="session")
def declared_page(served: Record, declared: Mapping[str, Definitions], engine_environment: EngineEnvironment) -> Page:
    """What the release that serves declares under the same command line."""
    return declared[engine_environment.running.release].pages[served.kind]
