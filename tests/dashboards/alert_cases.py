"""When each alert fires and when it does not: sentences, with the series that Prometheus would hold.

Values are in promtool's notation: `1x20` is 1 and twenty more of it, `0+5x20` grows by 5 each time, `_x20` is no
sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

INTERVAL = "1m"
CHAT = {"namespace": "chat", "name": "llama"}


@dataclass(frozen=True)
class Case:
    """What is there, and which alerts fire some minutes later."""

    alert: str
    sentence: str
    series: Mapping[str, str]
    minutes: int
    fires: tuple[Mapping[str, str], ...] = field(default=())
    """Labels of the alerts, without name and severity."""


def matchers(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def condition(kind: str, status: str, reason: str, name: str = "llama") -> str:
    return (
        f'specdecode_condition{{namespace="chat",name="{name}",type="{kind}",status="{status}",reason="{reason}",'
        f'pod="a",job="op",instance="a:8080"}}'
    )


def operator(metric: str, pod: str = "a", **labels: str) -> str:
    everything = {"namespace": "specdecode", "job": "op", "instance": f"{pod}:8080", "pod": pod, **labels}
    return metric + matchers(everything)


def of_chat(metric: str, **labels: str) -> str:
    return operator(metric, **{**CHAT, **labels})


def at(process: str = "a", **labels: str) -> dict[str, str]:
    return {"instance": f"{process}:8080", "job": "op", **labels}


_IN = {"namespace": "specdecode", "job": "op", "shard": "0"}
_ROLLED_BACK = {"from": "Draft", "to": "Off", "reason": "AcceptanceCollapsed"}
_TWICE = operator("specdecode_leader", "b", shard="0")
_TICKS, _LEADS = operator("specdecode_tick_seconds_count"), operator("specdecode_leader", shard="0")
_LEADS_OTHER, _TWICE_OTHER = (operator("specdecode_leader", process, shard="1") for process in "ab")
_FAILED = operator("specdecode_prometheus_query_total", outcome="failed")
_ANSWERED = operator("specdecode_prometheus_query_total", outcome="answered")

CASES = (
    Case(
        "SpecDecodeNotServing",
        "no replica has been ready for 31 minutes",
        {condition("Ready", "False", "NoReadyReplica"): "1x40"},
        31,
        (CHAT,),
    ),
    Case(
        "SpecDecodeNotServing",
        "a large model loads for 20 minutes, then serves",
        {
            condition("Ready", "False", "NoReadyReplica"): "1x20 _x20",
            condition("Ready", "True", "Serving"): "_x20 1x20",
        },
        35,
    ),
    Case(
        "SpecDecodeStalled",
        "a spec that does not fit",
        {condition("Stalled", "True", "DoesNotFit"): "1x10"},
        6,
        ({**CHAT, "reason": "DoesNotFit"},),
    ),
    Case("SpecDecodeStalled", "all is well", {condition("Stalled", "False", "Progressing"): "1x10"}, 6),
    Case(
        "SpecDecodeRolledBack",
        "a rollback fires at once, and whether it helped makes no second alert",
        {
            of_chat("specdecode_rollback_timestamp_seconds", **_ROLLED_BACK, helped="unknown"): "100x5 _x10",
            of_chat("specdecode_rollback_timestamp_seconds", **_ROLLED_BACK, helped="true"): "_x5 100x10",
        },
        8,
        ({**CHAT, **_ROLLED_BACK},),
    ),
    Case(
        "SpecDecodeRolledBack",
        "the spec was changed three minutes ago: no latch, no alert",
        {of_chat("specdecode_rollback_timestamp_seconds", **_ROLLED_BACK, helped="true"): "100x5 stale"},
        8,
    ),
    Case(
        "SpecDecodeRetriesExhausted",
        "no try is left",
        {of_chat("specdecode_rollback_retries_left"): "1x5 0x10"},
        12,
        (CHAT,),
    ),
    Case("SpecDecodeRetriesExhausted", "one is left", {of_chat("specdecode_rollback_retries_left"): "1x15"}, 12),
    Case(
        "SpecDecodeStepDownRecommended",
        "the guard recommends for 16 minutes",
        {condition("SpeculationActive", "True", "StepDownRecommended"): "1x20"},
        16,
        (CHAT,),
    ),
    Case(
        "SpecDecodeStepDownRecommended",
        "it runs as requested",
        {condition("SpeculationActive", "True", "AsRequested"): "1x20"},
        16,
    ),
    Case(
        "SpecDecodeStepHeld",
        "the namespace has taken its steps",
        {condition("SpeculationActive", "True", "TooManySteps"): "1x20"},
        16,
        (CHAT,),
    ),
    Case(
        "SpecDecodeStepHeld",
        "it was its turn after five minutes",
        {condition("SpeculationActive", "True", "TooManySteps"): "1x5 stale"},
        16,
    ),
    Case(
        "SpecDecodeMetricsMissing",
        "it serves and is not scraped",
        {
            condition("MetricsAvailable", "Unknown", "NoData"): "1x20",
            condition("Ready", "True", "Serving"): "1x20",
        },
        16,
        ({**CHAT, "reason": "NoData"},),
    ),
    Case(
        "SpecDecodeMetricsMissing",
        "one gets no traffic, one has not started: neither lacks metrics",
        {
            condition("MetricsAvailable", "True", "NoTraffic"): "1x20",
            condition("Ready", "True", "Serving"): "1x20",
            condition("MetricsAvailable", "Unknown", "NothingRuns", "other"): "1x20",
            condition("Ready", "False", "NoReadyReplica", "other"): "1x20",
        },
        16,
    ),
    Case(
        "SpecDecodePaused",
        "somebody forgot the annotation",
        {condition("Paused", "True", "Annotation"): "1x1500"},
        1445,
        (CHAT,),
    ),
    Case("SpecDecodePaused", "it is an hour old", {condition("Paused", "True", "Annotation"): "1x60"}, 60),
    Case(
        "SpecDecodePlanError",
        "one promised too much, one too little, one is 8 % off",
        {
            of_chat("specdecode_plan_error_ratio", mode="Draft"): "0.2x20",
            of_chat("specdecode_plan_error_ratio", mode="Off"): "-0.15x20",
            of_chat("specdecode_plan_error_ratio", mode="NGram"): "0.08x20",
        },
        16,
        ({**CHAT, "mode": "Draft"}, {**CHAT, "mode": "Off"}),
    ),
    Case(
        "SpecDecodePlanError",
        "it is 8 % off",
        {of_chat("specdecode_plan_error_ratio", mode="Draft"): "-0.08x20"},
        16,
    ),
    Case(
        "SpecDecodeCircuitBreakerOpen",
        "it has been open for two minutes",
        {operator("specdecode_circuit_breaker_open"): "0x5 1x5"},
        8,
        ({},),
    ),
    Case("SpecDecodeCircuitBreakerOpen", "it is closed", {operator("specdecode_circuit_breaker_open"): "0x10"}, 8),
    Case(
        "SpecDecodeTwoLeaders",
        "two processes of one installation lead",
        {_LEADS: "1x10", _TWICE: "1x10"},
        4,
        (_IN,),
    ),
    Case(
        "SpecDecodeTwoLeaders",
        "one hands over to the other, and another installation has its own",
        {
            _LEADS: "1x3 0x10",
            _TWICE: "0x3 1x10",
            operator("specdecode_leader", "c", namespace="team", job="team", shard="0"): "1x13",
        },
        8,
    ),
    Case(
        "SpecDecodeTwoLeaders",
        "each of two looks after a shard of its own",
        {_LEADS: "1x10", _TWICE: "0x10", _LEADS_OTHER: "0x10", _TWICE_OTHER: "1x10"},
        8,
    ),
    Case(
        "SpecDecodeNoLeader",
        "two wait for each other",
        {_LEADS: "0x10", _TWICE: "0x10"},
        7,
        (_IN,),
    ),
    Case("SpecDecodeNoLeader", "one leads, one waits", {_LEADS: "1x10", _TWICE: "0x10"}, 7),
    Case(
        "SpecDecodeNoLeader",
        "nobody looks after one of two shards",
        {_LEADS: "1x10", _TWICE: "0x10", _LEADS_OTHER: "0x10", _TWICE_OTHER: "0x10"},
        7,
        (_IN | {"shard": "1"},),
    ),
    Case(
        "SpecDecodeOperatorDown",
        "it was there and is gone",
        {operator("specdecode_build_info", version="0.1.0"): "1x5 stale"},
        17,
        ({},),
    ),
    Case(
        "SpecDecodeOperatorDown",
        "it is restarted within two minutes",
        {operator("specdecode_build_info", version="0.1.0"): "1x5 stale _x2 1x20"},
        20,
    ),
    Case(
        "SpecDecodeEvaluationStopped",
        "the leader has evaluated nothing for a quarter of an hour",
        {_TICKS: "0+4x10 40x30", _LEADS: "1x40"},
        30,
        (at(namespace="specdecode", pod="a"),),
    ),
    Case(
        "SpecDecodeEvaluationStopped",
        "the leader evaluates four times a minute; the one that waits never",
        {
            _TICKS: "0+4x40",
            _LEADS: "1x40",
            operator("specdecode_tick_seconds_count", "b"): "0x40",
            _TWICE: "0x40",
        },
        30,
    ),
    Case(
        "SpecDecodeWatchDeaf",
        "restarts did not help",
        {operator("specdecode_watch_lag_seconds"): "0x5 300x20"},
        22,
        (at(),),
    ),
    Case(
        "SpecDecodeWatchDeaf",
        "a restart helped",
        {operator("specdecode_watch_lag_seconds"): "0x5 300x5 0x20"},
        25,
    ),
    Case(
        "SpecDecodePrometheusUnreachable",
        "every query fails",
        {_FAILED: "0+8x30", _ANSWERED: "100x30"},
        25,
        (at(),),
    ),
    Case(
        "SpecDecodePrometheusUnreachable",
        "one query of ten fails",
        {_FAILED: "0+1x30", _ANSWERED: "0+9x30"},
        25,
    ),
    Case(
        "SpecDecodeReconcileErrors",
        "the API server refuses again and again",
        {operator("specdecode_reconcile_total", result="cluster_error"): "0+2x40"},
        30,
        (at(result="cluster_error"),),
    ),
    Case(
        "SpecDecodeReconcileErrors",
        "one conflict after the other is no error, and one error is over soon",
        {
            operator("specdecode_reconcile_total", result="conflict"): "0+2x40",
            operator("specdecode_reconcile_total", result="cluster_error"): "0x3 1x40",
        },
        30,
    ),
)


def _firing(alert: str) -> str:
    return f'count without (severity, alertstate) (ALERTS{{alertname="{alert}",alertstate="firing"}})'


def unit_tests(rule_file: str) -> dict[str, object]:
    """The unit tests, as promtool reads them."""
    return {
        "rule_files": [rule_file],
        "evaluation_interval": INTERVAL,
        "tests": [
            {
                "name": f"{case.alert}: {case.sentence}",
                "interval": INTERVAL,
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "promql_expr_test": [
                    {
                        "expr": _firing(case.alert),
                        "eval_time": f"{case.minutes}m",
                        "exp_samples": [
                            {"labels": matchers({"alertname": case.alert, **labels}), "value": 1}
                            for labels in case.fires
                        ],
                    }
                ],
            }
            for case in CASES
        ],
    }
