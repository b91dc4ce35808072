"""How a plan is drawn: the bar of the card, for every kind of terminal."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from builders import GIB, resource
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from specdecode.api.resource import Rejection
from specdecode.cli.bar import memory_bar
from specdecode.cli.tables import plan_renderable
from specdecode.plan.make import make_plan
from specdecode.plan.types import LedgerLine, Plan


class Ascii(io.StringIO):
    encoding = "ascii"


def console(*, width: int = 80, is_terminal: bool = False, **options: Any) -> Console:
    colours = "truecolor" if is_terminal else None
    return Console(
        file=options.pop("file", io.StringIO()),
        width=width,
        force_terminal=is_terminal,
        color_system=colours,
        **options,
    )


def planned(**overrides: Any) -> Plan:
    plan = make_plan(resource(**overrides))
    assert not isinstance(plan, Rejection)
    return plan


def shown(target: Console, **overrides: Any) -> str:
    target.print(plan_renderable(resource(**overrides), planned(**overrides)), highlight=False, crop=False)
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_a_bar_shows_every_part_in_the_order_of_the_ledger() -> None:
    bar = memory_bar(console(), planned(), planned().requested, 72).plain
    assert len(bar) == 72
    assert "".join(dict.fromkeys(bar)) == "TDAOGK."


def test_the_segments_are_to_scale() -> None:
    plan = planned()
    bar = memory_bar(console(), plan, plan.requested, 72).plain
    share = plan.requested.kv_cache_bytes_per_gpu / plan.gpu_memory_bytes
    assert bar.count("K") == pytest.approx(72 * share, abs=2)


def test_what_lies_beyond_the_card_is_marked() -> None:
    plan = planned(**{"spec.accelerator.count": 1})
    bar = memory_bar(console(), plan, plan.requested, 72).plain
    assert not plan.requested.fits
    assert bar.endswith("!")
    assert len(bar) == 72
    assert "K" not in bar


@given(st.integers(8, 200), st.integers(1, 8))
def test_a_bar_is_as_long_as_it_may_be(width: int, gpus: int) -> None:
    plan = planned(**{"spec.accelerator.count": 2 ** (gpus % 4)})
    for mode in plan.ladder:
        assert len(memory_bar(console(), plan, mode, width).plain) == width


def test_a_terminal_gets_colours_and_blocks() -> None:
    text = shown(console(is_terminal=True))
    assert "\x1b[34m" in text
    assert "█" in text
    assert "TTTT" not in text


def test_no_colour_is_asked_for() -> None:
    text = shown(console(is_terminal=True, no_color=True))
    assert "TTTT" in text
    assert "\x1b[34m" not in text


def test_a_terminal_without_blocks_gets_coloured_letters() -> None:
    text = shown(console(is_terminal=True, file=Ascii()))
    assert "TTTT" in text
    assert text.isascii()


@pytest.mark.parametrize("overrides", [{}, {"spec.accelerator.count": 1}], ids=["fits", "does not fit"])
def test_a_terminal_of_80_columns_is_enough(overrides: dict[str, Any]) -> None:
    lines = shown(console(is_terminal=True, no_color=True, highlight=False), **overrides).splitlines()
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    long = [line for line in plain if len(line) > 80]
    assert [line for line in long if not line.startswith("  --")] == []


def test_a_flag_is_one_line_and_can_be_copied() -> None:
    text = shown(console(is_terminal=True, no_color=True))
    for argument in planned().requested.arguments:
        assert f"  {argument}" in text


def test_in_a_pipe_every_sentence_is_one_line() -> None:
    text = shown(console(width=40))
    for advice in planned().advice:
        assert f"  {advice.reason}: {advice.message}\n" in text


def test_a_plan_without_advice_has_no_heading_for_it() -> None:
    target = console()
    target.print(plan_renderable(resource(), replace(planned(), advice=())), highlight=False, crop=False)
    assert isinstance(target.file, io.StringIO)
    assert "Advice" not in target.file.getvalue()


@pytest.mark.parametrize(
    ("spare", "words"),
    [
        pytest.param(5, "for one request of maxModelLen", id="the cache is too small"),
        pytest.param(-7, "for what lies beside the engine's budget", id="the card is too small"),
    ],
)
def test_what_is_short_is_said(spare: int, words: str) -> None:
    plan = planned()
    line = LedgerLine("spare", spare * GIB, spare * GIB, spare * GIB, "made up")
    kept = tuple(entry for entry in plan.requested.ledger if entry.name != "spare")
    rung = replace(plan.requested, fits=False, short_bytes=7 * GIB, ledger=(*kept, line))
    target = console()
    target.print(plan_renderable(resource(), replace(plan, ladder=(rung,))), highlight=False, crop=False)
    assert isinstance(target.file, io.StringIO)
    assert f"short by 7.00 GiB per GPU {words}" in target.file.getvalue()


def test_it_can_be_drawn_as_a_picture() -> None:
    recording = console(is_terminal=True, record=True)
    shown(recording)
    assert recording.export_svg(title="specdecode plan").startswith("<svg")
