"""One control plane for all system tests of a run.

The programs are fetched or built after collection, where no test's timeout runs and the progress can be seen. When
they cannot be had the tests fail: a system test is never skipped.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rehearsal.binaries import Binaries, BinariesError, ensure
from rehearsal.control_plane import ControlPlane

_OUTCOME = pytest.StashKey[Binaries | BinariesError]()
_HERE = Path(__file__).parent
_LONGEST = (
    "test_stories.py",
    "test_prometheus_trouble.py",
    "test_calibration.py",
    "test_crash_at_every_write.py",
    "test_uninstall.py",
    "test_sharding.py",
    "test_stale_view.py",
    "test_api_outage.py",
)
"""Begun first, so that of two workers none is left alone with one at the end."""
_LONGEST_IN_FULL = (
    "test_soak.py",
    "test_no_spare_gpu.py",
    "test_crash_at_every_write.py",
    "test_prometheus_trouble.py",
    "test_two_operators.py",
    "test_unobserved.py",
    "test_api_outage.py",
)
"""The same with `--faults=full`."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every test below this folder needs the control plane, and lives in the loop that runs it."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker("system")
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    longest = _LONGEST_IN_FULL if config.getoption("faults", default="short") == "full" else _LONGEST
    items.sort(key=lambda item: longest.index(item.path.name) if item.path.name in longest else len(longest))


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly or not any(item.get_closest_marker("system") for item in session.items):
        return
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    try:
        session.config.stash[_OUTCOME] = ensure(terminal.write_line if terminal else lambda _: None)
    except BinariesError as error:
        session.config.stash[_OUTCOME] = error


@pytest.fixture(scope="session")
def binaries(request: pytest.FixtureRequest) -> Binaries:
    match request.config.stash[_OUTCOME]:
        case BinariesError() as error:
            pytest.fail(str(error), pytrace=False)
        case Binaries() as binaries:
            return binaries


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(binaries, tmp_path_factory.mktemp("plane"), print) as plane:
        yield plane
