"""A status in which every field is set, shared with the tests against the API server."""

from typing import Any

_AT = "2026-11-22T12:00:00Z"
_LOAD = {"tpotMean": "47ms", "tpotP99": {"low": "75ms", "high": "unbounded"}, "runningRequests": 16}


def _condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    condition = {"type": kind, "status": status, "reason": reason, "message": "a sentence", "observedGeneration": 3}
    return condition | {"lastTransitionTime": _AT}


STATUS: dict[str, Any] = {
    "observedGeneration": 3,
    "specHash": "703283bf22",
    "mode": "NGram",
    "replicas": 2,
    "readyReplicas": 2,
    "selector": "specdecode.io/arm=main,specdecode.io/deployment=llama-70b",
    "plan": {
        "engineVersion": "0.32.0",
        "requestedMode": "QuantizedDraft",
        "gpuMemory": "79.2Gi",
        "modes": [
            {
                "name": "QuantizedDraft",
                "fits": True,
                "kvCache": "30Gi",
                "kvCacheTokens": 160_000,
                "measuredKvCacheTokens": 158_000,
                "requestsAtMaxModelLen": "19.5",
                "ledger": [{"name": "targetWeights", "size": "-34Gi"}],
            },
            {"name": "Draft", "fits": False, "shortBy": "3.1Gi"},
        ],
        "advice": [{"reason": "RevisionNotPinned", "message": "a sentence"}],
    },
    "calibration": [
        {
            "shape": "5ca1ab1e00",
            "specHash": "0123456789",
            "mode": "QuantizedDraft",
            "plannedKvCache": "30720Mi",
            "measuredKvCache": "30208Mi",
            "errorPercent": "1.7",
            "nonKvCache": "43520Mi",
            "at": "2026-11-22T10:30:00Z",
        }
    ],
    "observed": {
        "mode": "NGram",
        "window": "5m",
        "acceptanceRatePercent": 42,
        "acceptanceLength": "1.8",
        "tpotMean": "21ms",
        "tpotP50": {"low": "10ms", "high": "25ms"},
        "tpotP99": {"low": "25ms", "high": "50ms"},
        "ttftP99": {"low": "250ms", "high": "500ms"},
        "e2eP99": {"low": "5s", "high": "10s"},
        "runningRequests": 16,
        "speedup": "1.3",
        "speedupLow": "1.25",
        "speedupHigh": "1.36",
        "speedupSource": "baseline",
    },
    "baseline": {
        "off": {
            "key": "0ff0ff0ff0",
            "bands": [
                {
                    "runningRequests": 15,
                    "tpotMean": "27ms",
                    "tpotP50": {"low": "25ms", "high": "50ms"},
                    "tpotP99": {"low": "25ms", "high": "50ms"},
                    "stepMean": "26ms",
                    "at": _AT,
                }
            ],
        },
        "draft": {"key": "d4af7d4af7", "acceptanceRatePercent": "74.2", "draftTokens": 20_000, "at": _AT},
    },
    "decision": {
        "at": _AT,
        "mode": "NGram",
        "reason": "RolledBack",
        "message": "a sentence",
        "specHash": "703283bf22",
        "rules": [{"rule": "LatencyOverLimit", "outcome": "NotAsked", "saw": "needs one whole window"}],
    },
    "rollback": {
        "from": "QuantizedDraft",
        "to": "NGram",
        "reason": "AcceptanceCollapsed",
        "message": "a sentence",
        "evidence": [{"name": "acceptanceLength", "value": "1.04", "limit": "1.1"}],
        "at": _AT,
        "specHash": "703283bf22",
        "attempts": 2,
        "helped": "true",
        "before": _LOAD,
        "after": _LOAD,
        "rules": [{"rule": "AcceptanceCollapsed", "outcome": "Acts", "saw": "acceptance length 1.04, limit 1.1"}],
    },
    "findings": [{"reason": "AcceptanceFell", "message": "a sentence", "since": _AT}],
    "exoneration": {"specHash": "703283bf22", "reason": "LatencyOverLimit", "at": _AT},
    "acknowledgedRetry": "2026-11-21",
    "history": [
        {
            "at": _AT,
            "action": "RolledBack",
            "specHash": "703283bf22",
            "from": "QuantizedDraft",
            "to": "NGram",
            "reason": "AcceptanceCollapsed",
            "message": "a sentence",
        }
    ],
    "conditions": [
        _condition("Ready", "True", "Serving"),
        _condition("Planned", "True", "Fits"),
        _condition("SpeculationActive", "False", "RolledBack"),
        _condition("MetricsAvailable", "Unknown", "NoTraffic"),
        _condition("Paused", "False", "NotPaused"),
        _condition("Reconciling", "False", "Converged"),
        _condition("Stalled", "False", "NotStalled"),
    ],
}
"""A status in which every field is set, as the API server stores it."""
