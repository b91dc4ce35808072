"""The plan as JSON: camelCase, stable, bytes and tokens as integers. For scripts; people read the table."""

from typing import Any

from specdecode.api.resource import SpecDecodeDeployment
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
    quoted = published_budget(plan, mode)
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
