"""The plan as JSON: camelCase, stable, bytes and tokens as integers. For scripts; people read the table.

A plan is an object: `name`, `namespace`, `engineVersion`, `requestedMode`, `fits` (of the requested mode), `gpuCount`,
`gpuMemoryBytes` (as CUDA reports it), `gpuLabelBytes`, `modes`, `advice` (`reason`, `message`), `sources` (where the
facts of the models come from), `baselineKey`, `draftKey`.
A mode: `name`, `fits`, `shortBytes` (per GPU; 0 when it fits), `quoted`, `ledger`, `kvCacheBytesPerGpu` with its band
`kvCacheLowBytesPerGpu` and `kvCacheHighBytesPerGpu`, `bytesPerToken` (per GPU), `kvCacheTokens`,
`requestsAtMaxModelLen`, `loadBytes`, `startupBudgetSeconds`, `args`, `remedies`. A line of the ledger: `name`, `bytes`
(what gives is positive, what takes negative), `lowBytes`, `highBytes`, `source`.

With a log, the plan carries `comparison`: `mode`, `ranks`, `termOff` (null: every line is inside its band), `failure`
(null: the log tells of none), `notes`, `assumptions`, `lines` (`name`, `unit`, `planned`, `low`, `high`, `measured`,
`difference`, `isInside`), `log` (what was read; null where the log is silent).
Two files side by side are `left` and `right`, each with `file` and `plan`, and `differs`: for the requested modes the
`flags` and `numbers` that are not the same, each with `name`, `left`, `right`.
Several resources in one file are a list.
"""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.cli.side_by_side import Difference, different_flags, different_numbers, line_of
from specdecode.engine.startup_log import StartupLog
from specdecode.plan.log.compare import ComparedLine, Comparison, Unit
from specdecode.plan.published import published_budget
from specdecode.plan.startup import startup_budget_seconds
from specdecode.plan.types import LedgerLine, ModePlan, Plan


def _line(line: LedgerLine) -> dict[str, Any]:
    return {
        "name": line.name,
        "bytes": line.bytes,
        "lowBytes": line.low_bytes,
        "highBytes": line.high_bytes,
        "source": line.source,
    }


def _mode(plan: Plan, mode: ModePlan) -> dict[str, Any]:
    quoted, cache = published_budget(plan, mode), line_of(mode, "kvCache")
    return {
        "name": str(mode.mode),
        "fits": mode.fits,
        "shortBytes": mode.short_bytes,
        "quoted": {
            "memoryBytes": quoted.memory_bytes,
            "weightsBytes": quoted.weights_bytes,
            "leftBytes": quoted.left_bytes,
        },
        "ledger": [_line(line) for line in mode.ledger],
        "kvCacheBytesPerGpu": mode.kv_cache_bytes_per_gpu,
        "kvCacheLowBytesPerGpu": cache.low_bytes,
        "kvCacheHighBytesPerGpu": cache.high_bytes,
        "bytesPerToken": mode.bytes_per_token,
        "kvCacheTokens": mode.kv_cache_tokens,
        "requestsAtMaxModelLen": round(mode.requests_at_max_model_len, 2),
        "loadBytes": mode.load_bytes,
        "startupBudgetSeconds": startup_budget_seconds(mode.load_bytes),
        "args": list(mode.arguments),
        "remedies": list(mode.remedies),
    }


def plan_document(resource: SpecDecodeDeployment, plan: Plan) -> dict[str, Any]:
    """One plan as a JSON object."""
    return {
        "name": resource.metadata.name,
        "namespace": resource.metadata.namespace,
        "engineVersion": plan.engine_version,
        "requestedMode": str(plan.requested_mode),
        "fits": plan.requested.fits,
        "gpuCount": plan.gpu_count,
        "gpuMemoryBytes": plan.gpu_memory_bytes,
        "gpuLabelBytes": plan.gpu_label_bytes,
        "modes": [_mode(plan, mode) for mode in plan.ladder],
        "advice": [{"reason": advice.reason, "message": advice.message} for advice in plan.advice],
        "sources": list(plan.sources),
        "baselineKey": plan.baseline_key,
        "draftKey": plan.draft_key,
    }


def _number(unit: Unit, value: float) -> float | int:
    return round(value, 2) if unit is Unit.REQUESTS else round(value)


def _compared_line(line: ComparedLine) -> dict[str, Any]:
    numbers = {
        "planned": line.planned,
        "low": line.low,
        "high": line.high,
        "measured": line.measured,
        "difference": line.difference,
    }
    rounded = {name: _number(line.unit, value) for name, value in numbers.items()}
    return {"name": line.name, "unit": str(line.unit), **rounded, "isInside": line.is_inside}


def _camel(values: dict[str, Any]) -> dict[str, Any]:
    return {to_camel(name): str(value) if isinstance(value, StrEnum) else value for name, value in values.items()}


def _log_document(log: StartupLog) -> dict[str, Any]:
    values = asdict(log)
    speculation = None if log.speculation is None else _camel(values["speculation"])
    return _camel(values) | {"speculation": speculation}


def comparison_document(comparison: Comparison, log: StartupLog, assumptions: Sequence[str]) -> dict[str, Any]:
    """A plan against a log as a JSON object."""
    return {
        "mode": str(comparison.mode),
        "ranks": comparison.ranks,
        "termOff": comparison.term_off,
        "failure": comparison.failure,
        "notes": list(comparison.notes),
        "assumptions": list(assumptions),
        "lines": [_compared_line(line) for line in comparison.lines],
        "log": _log_document(log),
    }


def _differences(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    return [{"name": entry.name, "left": entry.left, "right": entry.right} for entry in differences]


def side_by_side_document(
    files: tuple[str, str], left: tuple[SpecDecodeDeployment, Plan], right: tuple[SpecDecodeDeployment, Plan]
) -> dict[str, Any]:
    """Two plans and where they differ as a JSON object."""
    modes = left[1].requested, right[1].requested
    return {
        "left": {"file": files[0], "plan": plan_document(*left)},
        "right": {"file": files[1], "plan": plan_document(*right)},
        "differs": {
            "numbers": _differences(different_numbers(*modes)),
            "flags": _differences(different_flags(*modes)),
        },
    }
