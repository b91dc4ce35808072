"""How much is broken: a little in every run, all of it with `--faults=full`."""

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Faults:
    """The size of a run."""

    is_full: bool


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", choices=("short", "full"), default="short", help="how many faults are injected")


@pytest.fixture(scope="session")
def faults(request: pytest.FixtureRequest) -> Faults:
    return Faults(is_full=request.config.getoption("faults", default="short") == "full")
