"""What running engines say of their KV cache, and that it never changes what runs."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import GIB, NOW, mode_plan, plan
from hypothesis import given
from hypothesis import strategies as st

from specdecode.api.status import CALIBRATION_LIMIT, CalibrationStatus
from specdecode.api.vocabulary import Mode
from specdecode.calibrate import calibrations_for, measured_bytes, measured_tokens, next_calibrations, own_calibration
from specdecode.decide.facts import CacheReading
from specdecode.plan.types import LedgerLine, ModePlan, Plan

BUDGET = 72 * GIB
BLOCK_BYTES = 4 * 1024**2
"""Of a block of 16 tokens, so that 256 blocks are a GiB."""
MINE, OTHER, THIRD = "mine", "other", "third"


def rung(mode: Mode = Mode.DRAFT, **changes: Any) -> ModePlan:
    """A mode with a budget of 72 GiB and a planned KV cache of 30 GiB; its shape is its name."""
    lines = tuple(LedgerLine(name, size, size, size, "") for name, size in (("budget", BUDGET), ("kvCache", 30 * GIB)))
    good = {"ledger": lines, "bytes_per_block": BLOCK_BYTES, "shape": f"shape of {mode}", "kv_cache_tokens": 122_880}
    return mode_plan(mode, **(good | changes))


PLAN = plan(rung(Mode.QUANTIZED_DRAFT), rung(), rung(Mode.NGRAM), rung(Mode.OFF))


def reading(gib: float = 30, block_size_tokens: int = 16) -> CacheReading:
    """An engine that made a KV cache of so many GiB, in blocks of so many tokens."""
    return CacheReading(int(gib * 256 * 16 / block_size_tokens), block_size_tokens)


def entry(spec_hash: str = MINE, mode: Mode = Mode.DRAFT, **changes: Any) -> CalibrationStatus:
    good = CalibrationStatus(
        shape=f"shape of {mode}",
        spec_hash=spec_hash,
        mode=mode,
        planned_kv_cache="30720Mi",
        measured_kv_cache="30720Mi",
        error_percent="0.0",
        non_kv_cache="43008Mi",
        at=NOW - timedelta(hours=1),
    )
    return good.model_copy(update=changes)


def after(*old: CalibrationStatus, **changes: Any) -> tuple[CalibrationStatus, ...]:
    asked: dict[str, Any] = {"plan": PLAN, "mode": Mode.DRAFT, "reading": reading(), "spec_hash": MINE, "now": NOW}
    return next_calibrations(old, **(asked | changes))


@pytest.mark.parametrize(
    ("said", "measured"),
    [
        pytest.param(reading(30), 30 * GIB, id="blocks as the plan has them"),
        pytest.param(reading(30, 64), 30 * GIB, id="larger blocks, fewer of them"),
        pytest.param(reading(30, 8), 30 * GIB, id="smaller blocks, more of them"),
    ],
)
def test_bytes_follow_from_blocks(said: CacheReading, measured: int) -> None:
    assert measured_bytes(rung(), said) == measured


def test_the_first_measurement_is_noted_with_its_error() -> None:
    (new,) = after(reading=reading(28.5))
    assert (new.shape, new.spec_hash, new.mode, new.at) == ("shape of Draft", MINE, Mode.DRAFT, NOW)
    assert (new.planned_kv_cache, new.measured_kv_cache) == ("30720Mi", "29184Mi")
    assert new.error_percent == "5.3", "1.5 GiB more was promised than the 28.5 there are"
    assert new.non_kv_cache == f"{(72 - 28.5) * 1024:.0f}Mi"


def test_what_is_not_whole_mebibytes_is_rounded_to_the_careful_side() -> None:
    half = rung(bytes_per_block=BLOCK_BYTES + 1)
    (new,) = after(plan=plan(half))
    assert new.measured_kv_cache == "30720Mi"
    assert new.non_kv_cache == f"{42 * 1024}Mi"
    (more,) = after(plan=plan(replace(half, ledger=(LedgerLine("budget", BUDGET + 1, 0, 0, ""),))))
    assert more.non_kv_cache == f"{42 * 1024 + 1}Mi"


PINNED = plan(rung(arguments=("--model=m", "--kv-cache-memory-bytes=1")))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"reading": None}, id="the engine does not say"),
        pytest.param({"plan": PINNED}, id="pinned by the plan: it says what it was told"),
        pytest.param({"plan": plan(rung(Mode.OFF))}, id="a mode that the plan does not have"),
        pytest.param({"reading": CacheReading(0, 16)}, id="no blocks at all"),
        pytest.param({"reading": reading(72)}, id="more than the whole budget: not counted as the plan counts"),
        pytest.param({"reading": reading(7)}, id="a quarter of what was planned: another block size than it says"),
    ],
)
def test_what_says_nothing_about_the_plan_is_not_noted(changes: dict[str, Any]) -> None:
    assert after(**changes) == ()
    assert after(entry(), **changes) == (entry(),)


@pytest.mark.parametrize(
    ("changes", "is_rewritten"),
    [
        pytest.param({}, False, id="the same again"),
        pytest.param({"reading": reading(30.29)}, False, id="within one percent: engines differ from start to start"),
        pytest.param({"reading": reading(30.31)}, True, id="more than one percent more"),
        pytest.param({"reading": reading(29.69)}, True, id="more than one percent less"),
        pytest.param({"plan": plan(rung(kv_cache_bytes_per_gpu=31 * GIB))}, True, id="another version plans otherwise"),
    ],
)
def test_an_entry_is_rewritten_only_for_news(changes: dict[str, Any], is_rewritten: bool) -> None:  # noqa: FBT001 - a column of the table
    new = after(entry(), **changes)
    assert len(new) == 1
    assert (new != (entry(),)) is is_rewritten
    assert (new[0].at == NOW) is is_rewritten


def test_a_spec_is_planned_with_the_newest_measurement_of_others_and_never_with_its_own() -> None:
    older = entry(OTHER, measured_kv_cache="1Mi", at=NOW - timedelta(days=1))
    newer = entry(THIRD, measured_kv_cache="2Mi", non_kv_cache="7Mi", planned_kv_cache="3Mi")
    (used,) = calibrations_for(MINE, (older, entry(MINE), newer))
    assert (used.shape, used.measured_kv_cache_bytes) == ("shape of Draft", 2 * 1024**2)
    assert (used.non_kv_bytes, used.planned_kv_cache_bytes) == (7 * 1024**2, 3 * 1024**2)
    assert calibrations_for(THIRD, (newer,)) == ()


def test_what_a_spec_uses_stays_beside_what_is_measured_under_it() -> None:
    new = after(entry(OTHER), entry(THIRD, at=NOW - timedelta(days=1)), reading=reading(20))
    assert [one.spec_hash for one in new] == [MINE, OTHER], "of the others only the newest is ever used"


def test_the_list_has_an_end_and_the_shapes_of_the_plan_stay() -> None:
    strangers = [entry(OTHER, shape=f"old {n}", at=NOW - timedelta(minutes=n)) for n in range(CALIBRATION_LIMIT)]
    used = entry(OTHER, at=NOW - timedelta(days=9))
    new = after(*strangers, used)
    assert len(new) == CALIBRATION_LIMIT
    assert used in new
    assert new[0].spec_hash == MINE
    assert strangers[0] in new
    assert strangers[-1] not in new
    assert [one.at for one in new] == sorted((one.at for one in new), reverse=True)


def test_measured_tokens_follow_the_ratio_of_the_plan() -> None:
    assert measured_tokens(rung(), entry(measured_kv_cache="15360Mi")) == 61_440
    assert measured_tokens(rung(fits=False, kv_cache_bytes_per_gpu=-GIB), entry()) is None


def test_what_is_shown_beside_the_plan_was_measured_under_this_spec() -> None:
    assert own_calibration(MINE, rung(), (entry(OTHER), entry(MINE))) == entry(MINE)
    assert own_calibration(MINE, rung(), (entry(OTHER), entry(MINE, Mode.OFF))) is None


_LOOKS = st.lists(
    st.tuples(
        st.sampled_from(sorted(Mode)),
        st.floats(0, 80),
        st.sampled_from([8, 16, 64]),
        st.integers(-2, 2),
    ),
    max_size=12,
)
_ENTRIES = st.lists(
    st.builds(
        lambda spec_hash, mode, hours, size: entry(
            spec_hash, mode, at=NOW - timedelta(hours=hours), measured_kv_cache=f"{size}Mi"
        ),
        st.sampled_from([MINE, OTHER, THIRD]),
        st.sampled_from(sorted(Mode)),
        st.integers(0, 5),
        st.integers(1, 70_000),
    ),
    max_size=CALIBRATION_LIMIT,
    unique_by=lambda one: (one.shape, one.spec_hash),
)


@given(old=_ENTRIES, looks=_LOOKS)
def test_whatever_is_measured_under_a_spec_its_plan_stays_the_same(
    old: list[CalibrationStatus], looks: list[tuple[Mode, float, int, int]]
) -> None:
    now, entries = NOW, tuple(old)
    used = calibrations_for(MINE, entries)
    for mode, gib, block, moved in looks:
        now += timedelta(minutes=1)
        a_plan: Plan = replace(
            PLAN, ladder=tuple(replace(r, kv_cache_bytes_per_gpu=(30 + moved) * GIB) for r in PLAN.ladder)
        )
        entries = after(*entries, plan=a_plan, mode=mode, reading=reading(gib, block), now=now)
        assert calibrations_for(MINE, entries) == used
        assert len(entries) <= CALIBRATION_LIMIT
        assert len({(one.shape, one.spec_hash) for one in entries}) == len(entries)
        assert after(*entries, plan=a_plan, mode=mode, reading=reading(gib, block), now=now) == entries
