"""What running engines say of their KV cache, kept in status and held against the plan. Pure.

A measurement never changes what runs: it counts for every spec but the one it was made under. Entries are keyed by
shape and spec hash, and what a spec in force uses is neither rewritten nor dropped until the spec changes. So the plan
of a spec depends on the spec alone, whenever and however often it is made again.
"""

from datetime import datetime

from specdecode.api.status import CALIBRATION_LIMIT, CalibrationStatus
from specdecode.api.values import bytes_of
from specdecode.api.vocabulary import Mode
from specdecode.decide.facts import CacheReading
from specdecode.plan.knowledge import Calibration
from specdecode.plan.types import ModePlan, Plan

MIB = 1024**2

_DRIFT = 0.01
"""Engines of one shape differ from start to start by less: what else is on the GPU, and where graphs land."""

_SMALLEST_SHARE = 3
"""0.18 to 0.23 print the block size they were asked for, and latent attention takes one four times as large: a cache
under a third of the planned one is not believed."""

_PINNED = "--kv-cache-memory-bytes="

Calibrations = tuple[CalibrationStatus, ...]


def is_pinned(rung: ModePlan) -> bool:
    """Whether the plan itself fixes the KV cache: what the engine then says is only what it was told."""
    return any(argument.startswith(_PINNED) for argument in rung.arguments)


def measured_bytes(rung: ModePlan, reading: CacheReading) -> int:
    """The KV cache of a running engine, per GPU, from its block count."""
    return reading.num_gpu_blocks * reading.block_size_tokens * rung.bytes_per_block // rung.block_size_tokens


def _budget_bytes(rung: ModePlan) -> int:
    return sum(line.bytes for line in rung.ledger if line.name == "budget")


def _size(size_bytes: int) -> str:
    """To the MiB, downwards, because later plans read it back: `31345Mi`."""
    return f"{size_bytes // MIB}Mi"


def _error_percent(planned: int, measured: int) -> str:
    return f"{100 * (planned - measured) / measured:.1f}"


def _entry(rung: ModePlan, spec_hash: str, measured: int, now: datetime) -> CalibrationStatus:
    planned = rung.kv_cache_bytes_per_gpu
    return CalibrationStatus(
        shape=rung.shape,
        spec_hash=spec_hash,
        mode=rung.mode,
        planned_kv_cache=_size(planned),
        measured_kv_cache=_size(measured),
        error_percent=_error_percent(planned, measured),
        non_kv_cache=_size(_budget_bytes(rung) - measured // MIB * MIB + MIB - 1),
        at=now,
    )


def _says_the_same(old: CalibrationStatus, new: CalibrationStatus) -> bool:
    known = bytes_of(old.measured_kv_cache)
    has_drifted = abs(bytes_of(new.measured_kv_cache) - known) > _DRIFT * known
    return old.planned_kv_cache == new.planned_kv_cache and not has_drifted


def _newest_of_others(spec_hash: str, entries: Calibrations) -> dict[str, CalibrationStatus]:
    """By shape: the newest entry that was measured under another spec."""
    others = (entry for entry in entries if entry.spec_hash != spec_hash)
    return {entry.shape: entry for entry in sorted(others, key=lambda entry: (entry.at, entry.spec_hash))}


def calibrations_for(spec_hash: str, entries: Calibrations) -> tuple[Calibration, ...]:
    """What the plan of a spec may use: one measurement per shape, none of them its own."""
    newest = _newest_of_others(spec_hash, entries)
    return tuple(
        Calibration(
            shape=entry.shape,
            planned_kv_cache_bytes=bytes_of(entry.planned_kv_cache),
            measured_kv_cache_bytes=bytes_of(entry.measured_kv_cache),
            non_kv_bytes=bytes_of(entry.non_kv_cache),
        )
        for _, entry in sorted(newest.items())
    )


def own_calibration(spec_hash: str | None, rung: ModePlan, entries: Calibrations) -> CalibrationStatus | None:
    """What was measured of a mode under the spec in force."""
    return next((entry for entry in entries if (entry.shape, entry.spec_hash) == (rung.shape, spec_hash)), None)


def measured_tokens(rung: ModePlan, entry: CalibrationStatus) -> int | None:
    """Tokens that the measured KV cache holds, by the plan's own ratio; None for a mode that was not to fit."""
    if not rung.fits:
        return None
    return rung.kv_cache_tokens * bytes_of(entry.measured_kv_cache) // rung.kv_cache_bytes_per_gpu


def _bounded(plan: Plan, entries: Calibrations) -> Calibrations:
    """Newest first. Of the shapes that the plan may run nothing is lost: each has at most two entries."""
    shapes = {rung.shape for rung in plan.ladder}
    newest_first = sorted(entries, key=lambda entry: (entry.at, entry.shape, entry.spec_hash), reverse=True)
    kept = sorted(newest_first, key=lambda entry: entry.shape not in shapes)[:CALIBRATION_LIMIT]
    return tuple(entry for entry in newest_first if entry in kept)


def next_calibrations(
    old: Calibrations, plan: Plan, mode: Mode, reading: CacheReading | None, *, spec_hash: str, now: datetime
) -> Calibrations:
    """The entries after one look at the rolled-out engines of `mode`; the same ones while nothing new is said.

    `plan` is the one without calibrations, so that the error stays that of the formulas. A cache that is no part of
    the budget is no measurement of this shape: the arithmetic of its blocks does not hold, and it is left out.
    """
    rung = plan.mode(mode)
    if rung is None or reading is None or is_pinned(rung):
        return old
    measured = measured_bytes(rung, reading)
    is_whole = measured >= MIB and _SMALLEST_SHARE * measured >= rung.kv_cache_bytes_per_gpu
    if not is_whole or measured >= _budget_bytes(rung):
        return old
    new = _entry(rung, spec_hash, measured, now)
    own = own_calibration(spec_hash, rung, old)
    if own is not None and _says_the_same(own, new):
        return old
    others = _newest_of_others(spec_hash, old)
    mine = tuple(entry for entry in old if entry.spec_hash == spec_hash and entry is not own)
    return _bounded(plan, (new, *mine, *others.values()))
