"""`specdecode run`: how options become settings. The operator itself is not started."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specdecode.cli import app
from specdecode.settings import Settings


@pytest.mark.parametrize(
    ("options", "environment", "hub", "models_directory"),
    [
        pytest.param([], {}, False, None, id="nothing is looked up unless it is allowed"),
        pytest.param(["--hub"], {}, True, None, id="the hub"),
        pytest.param(["--models-directory=/mnt/models"], {}, False, Path("/mnt/models"), id="a directory"),
        pytest.param([], {"SPECDECODE_HUB": "true"}, True, None, id="from the environment"),
        pytest.param(["--no-hub"], {"SPECDECODE_HUB": "true"}, False, None, id="an option wins over the environment"),
    ],
)
def test_where_models_may_be_looked_up(
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    environment: dict[str, str],
    hub: bool,  # noqa: FBT001 - a column of the table
    models_directory: Path | None,
) -> None:
    started: list[Settings] = []

    async def start(settings: Settings) -> None:
        started.append(settings)

    monkeypatch.setattr("specdecode.loop.run", start)
    monkeypatch.setattr(sys.modules["specdecode.cli.run"], "set_up_logging", lambda _: None)
    answer = CliRunner().invoke(app, ["run", *options], env=environment)
    assert answer.exit_code == 0, answer.output
    (settings,) = started
    assert (settings.hub, settings.models_directory) == (hub, models_directory)
