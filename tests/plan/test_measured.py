"""The plan against engines that really ran: what `make bench` prints, held to its reach."""

import json
from pathlib import Path

import pytest
import yaml
from bench.assumptions import ASSUMED, END_TO_END, RELEASE, Group
from bench.measured import read_rows
from bench.pairs import Effect, effects
from bench.report import Report, make_report
from bench.rows import SHARED_BY_RANKS, Row, body_of, row_of
from bench.score import Prediction, bytes_error_percent, is_exact, predict
from bench.tables import markdown
from typer.testing import CliRunner

from specdecode.api.resource import Rejection
from specdecode.cli import app

ROWS = tuple(row_of(measured) for measured in read_rows())
PLANNED = tuple(row for row in ROWS if row.group is not Group.SKIPPED)
END_TO_END_ROWS = tuple(row for row in ROWS if row.group in END_TO_END)
WITH_BYTES = tuple(row for row in PLANNED if row.measured.kv_cache_gib and row.measured.kv_cache_tokens)
SAME_RANK = tuple(row for row in WITH_BYTES if row.measured.id not in SHARED_BY_RANKS)


def _ids(rows: tuple[Row, ...]) -> list[str]:
    return [row.measured.id for row in rows]


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report()


def _predicted(row: Row) -> Prediction:
    found = predict(row)
    assert isinstance(found, Prediction), str(found)
    return found


def test_no_row_is_left_out_without_a_reason() -> None:
    assert len(ROWS) == 84
    assert len({row.measured.id for row in ROWS}) == 84
    assert all(bool(row.skipped) == (row.group is Group.SKIPPED) for row in ROWS)


def test_an_assumption_names_a_row_and_a_reason() -> None:
    assert set(ASSUMED) <= set(_ids(PLANNED))
    assert all(assumed.why for assumed in ASSUMED.values())


def test_every_engine_line_that_is_planned_stands_for_one_release() -> None:
    lines = {row.measured.engine for row in PLANNED if row.measured.engine.endswith(".x")}
    assert lines <= set(RELEASE)


@pytest.mark.parametrize("row", PLANNED, ids=_ids(PLANNED))
def test_a_row_whose_inputs_are_stated_is_planned(row: Row) -> None:
    assert not isinstance(row.asked, Rejection), str(row.asked)
    _predicted(row)


def test_the_kv_cache_is_within_0_4_gib_on_average(report: Report) -> None:
    overall = report.summaries[-1]
    assert overall.rows == len(END_TO_END_ROWS) == 22
    assert overall.mean_error <= 0.4


def test_nine_of_ten_measured_kv_caches_are_inside_the_band(report: Report) -> None:
    overall = report.summaries[-1]
    assert overall.inside >= 0.9 * overall.rows


def test_the_band_is_no_wider_than_it_must_be(report: Report) -> None:
    # A band that held every row by being wide would be worth nothing: naive arithmetic is 3 GiB off.
    assert report.summaries[-1].mean_width <= 1.0


def test_the_plan_beats_both_baselines_in_every_group(report: Report) -> None:
    for line in report.summaries:
        assert line.mean_error < min(line.naive_error, line.constants_error), line.title


def test_the_readme_quotes_the_table_of_today(report: Report) -> None:
    assert markdown(report) in (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("row", SAME_RANK, ids=_ids(SAME_RANK))
def test_tokens_follow_exactly_from_the_bytes_per_token(row: Row) -> None:
    assert is_exact(_predicted(row).mode, row.measured)


@pytest.mark.parametrize("row", [row for row in WITH_BYTES if row not in SAME_RANK], ids=sorted(SHARED_BY_RANKS))
def test_bytes_per_token_are_close_where_gib_and_tokens_are_of_different_ranks(row: Row) -> None:
    assert abs(bytes_error_percent(_predicted(row).mode, row.measured)) <= 1.2


def test_the_check_of_bytes_per_token_can_fail() -> None:
    row = next(row for row in ROWS if row.measured.id == "lab-qwen3-8b-018-fp8kv-4gib")
    wrong = body_of(row.measured, row.assumed)
    wrong["spec"]["engine"]["kvCacheDtype"] = "auto"
    planned = CliRunner().invoke(app, ["plan", "-f", "-", "-o", "json"], input=yaml.safe_dump(wrong))
    assert json.loads(planned.output)["modes"][0]["bytesPerToken"] == 2 * _predicted(row).mode.bytes_per_token


def test_what_started_is_not_called_impossible(report: Report) -> None:
    assert report.impossible == ()


def test_what_found_no_room_is_not_called_fitting(report: Report) -> None:
    assert sum(row.measured.had_no_room for row in report.with_verdict) == 4
    assert report.fitting == ()


EFFECTS = effects({row.measured.id: predict(row) for row in PLANNED})


@pytest.mark.parametrize("effect", EFFECTS, ids=[getattr(effect, "change", str(effect)) for effect in EFFECTS])
def test_the_effect_of_one_change_is_within_3_percent(effect: Effect | str) -> None:
    assert isinstance(effect, Effect), effect
    assert abs(effect.difference_percent) <= 3


def test_a_cold_and_a_warm_start_are_both_inside_the_band(report: Report) -> None:
    cold = report.cold
    assert cold is not None
    assert cold.low_gib <= cold.cold_gib < cold.warm_gib <= cold.high_gib


@pytest.mark.parametrize("row", END_TO_END_ROWS, ids=_ids(END_TO_END_ROWS))
def test_the_command_says_what_the_plan_says(row: Row, tmp_path: Path) -> None:
    file = tmp_path / "measured.yaml"
    file.write_text(yaml.safe_dump(body_of(row.measured, row.assumed)))
    shown = CliRunner().invoke(app, ["plan", "-f", str(file), "-o", "json"])
    planned = _predicted(row).mode
    assert shown.exit_code == (0 if planned.fits else 1), shown.output
    mode = json.loads(shown.output)["modes"][0]
    assert mode["kvCacheBytesPerGpu"] == planned.kv_cache_bytes_per_gpu
    assert mode["kvCacheTokens"] == planned.kv_cache_tokens
