"""The dashboard over all deployments: who runs what, who does not do well, and how the operator itself is."""

from rehearsal.dashboards.panels import (
    MODE_COLOURS,
    Json,
    Panel,
    Query,
    bars,
    dashboard,
    label_variable,
    laid_out,
    lines,
    named,
    stat,
    table,
    timeline,
    window_variable,
)

UID = "specdecode-fleet"

_OURS = 'namespace=~"$namespace"'
_ENGINES = f'{_OURS},specdecode_io_deployment!=""'
_ONE = "namespace, name"
_ENGINE_GROUP = "namespace, specdecode_io_deployment, specdecode_io_mode"
_ENGINE_NAME = "{{namespace}}/{{specdecode_io_deployment}} {{specdecode_io_mode}}"
_WELL, _ILL, _MIND = "green", "red", "orange"

_ACCEPTANCE = (
    f"sum by ({_ENGINE_GROUP}) (rate(vllm:spec_decode_num_accepted_tokens_total{{{_ENGINES}}}[$window]))"
    f" / (sum by ({_ENGINE_GROUP}) (rate(vllm:spec_decode_num_draft_tokens_total{{{_ENGINES}}}[$window])) > 0)"
)
_SPEEDUP = f"max by ({_ONE}, source) (specdecode_speedup_ratio{{{_OURS}}})"


def _condition(matchers: str, by: str = _ONE) -> str:
    """One series per resource whose condition is so, whichever process shows it."""
    return f"max by ({by}) (specdecode_condition{{{_OURS},{matchers}}})"


def _counted(series: str) -> str:
    return f"count({series}) or vector(0)"


_NOT_MEASURED = " and ".join(
    (_condition('type="MetricsAvailable",status!="True"'), f"on ({_ONE}) " + _condition('type="Ready",status="True"'))
)
_WORTH_A_LOOK = " or ".join(
    _condition(matchers, f"{_ONE}, type, status, reason")
    for matchers in (
        'type="Stalled",status="True"',
        'type="Ready",status="False"',
        'type="MetricsAvailable",status!="True"',
        'type="Paused",status="True"',
        'type="SpeculationActive",reason=~"StepDownRecommended|CircuitBreakerOpen|TooManySteps|Forced"',
    )
)


def _now() -> tuple[Panel, ...]:
    bad_above_zero = ((None, _WELL), (1.0, _ILL))
    mind_above_zero = ((None, _WELL), (1.0, _MIND))
    return (
        stat("Deployments", _counted(_condition('type="Ready"'))),
        stat("Speculating", _counted(_condition('type="SpeculationActive",status="True"'))),
        stat(
            "Rolled back",
            _counted(f"max by ({_ONE}) (specdecode_rollback_timestamp_seconds{{{_OURS}}})"),
            steps=mind_above_zero,
            description="Deployments that serve in another mode than their spec asks for.",
        ),
        stat(
            "Not measured",
            _counted(_NOT_MEASURED),
            steps=mind_above_zero,
            description="Ready, but without metrics: the guard does not judge them. No traffic is not counted.",
        ),
        stat("Stalled", _counted(_condition('type="Stalled",status="True"')), steps=bad_above_zero),
        stat(
            "Circuit breaker",
            "max(specdecode_circuit_breaker_open)",
            steps=bad_above_zero,
            description="Open: many deployments want to step down at once, nobody steps, and a person is awaited.",
            defaults={"mappings": _breaker_words()},
        ),
        stat(
            "Leaders",
            "max(sum by (namespace, job, shard) (specdecode_leader))",
            steps=((None, _ILL), (1.0, _WELL)),
            description="Operators that work: one per installation, or per shard of it.",
        ),
        stat("Engine pods up", f"sum(up{{{_ENGINES}}}) / count(up{{{_ENGINES}}})", unit="percentunit"),
    )


def _breaker_words() -> list[Json]:
    words = {"0": {"text": "closed", "color": _WELL, "index": 0}, "1": {"text": "OPEN", "color": _ILL, "index": 1}}
    return [{"type": "value", "options": words}]


def _modes() -> tuple[Panel, ...]:
    return (
        lines(
            "Deployments by mode",
            Query(
                f"sum by (mode) (max by ({_ONE}, mode) (specdecode_effective{{{_OURS}}}))",
                "{{mode}}",
            ),
            stacked=True,
            width=10,
            custom={"lineInterpolation": "stepAfter", "fillOpacity": 60},
            defaults={"min": 0, "decimals": 0},
            overrides=[named(mode, color=colour) for mode, colour in MODE_COLOURS.items()],
        ),
        table(
            "Rolled back, and why",
            f"sort_desc(1000 * max by ({_ONE}, from, to, reason, helped) "
            f"(specdecode_rollback_timestamp_seconds{{{_OURS}}}))",
            {
                "namespace": "namespace",
                "name": "deployment",
                "from": "from",
                "to": "to",
                "reason": "reason",
                "helped": "helped",
            },
            value="since",
            unit="dateTimeAsIso",
            width=14,
            description="`helped` compares latency before and after at the same load; "
            "`kubectl specdecode explain NAME` tells the rest.",
        ),
    )


def _acceptance() -> tuple[Panel, ...]:
    acceptance_steps = ((None, _ILL), (0.5, _MIND), (0.65, _WELL))
    ratio: Json = {"unit": "percentunit", "defaults": {"min": 0, "max": 1}, "width": 8}
    return (
        bars(
            "Lowest acceptance rate",
            Query(f"sort(bottomk(10, {_ACCEPTANCE}))", _ENGINE_NAME, is_now=True),
            steps=acceptance_steps,
            description="Accepted / proposed draft tokens. A low rate may still pay: hold it against the speed-up.",
            **ratio,
        ),
        bars(
            "Highest acceptance rate",
            Query(f"sort_desc(topk(10, {_ACCEPTANCE}))", _ENGINE_NAME, is_now=True),
            steps=acceptance_steps,
            description="Close to 100 % for long is worth a look, too: text that repeats itself is easy to guess.",
            **ratio,
        ),
        bars(
            "Lowest speed-up",
            Query(f"sort(bottomk(10, {_SPEEDUP}))", "{{namespace}}/{{name}} ({{source}})", is_now=True),
            steps=((None, _ILL), (1.0, _MIND), (1.1, _WELL)),
            description="Time per output token without speculation / with it; below 1 speculation costs. "
            "In brackets where the comparison comes from.",
            unit="suffix:x",
            defaults={"min": 0, "decimals": 2},
        ),
    )


def _told() -> tuple[Panel, ...]:
    name = {"namespace": "namespace", "name": "deployment"}
    return (
        table(
            "Worth a look",
            _WORTH_A_LOOK,
            name | {"type": "condition", "status": "status", "reason": "reason"},
            width=10,
            description="Conditions that are not as they should be.",
        ),
        table(
            "Findings",
            f"sort(1000 * max by ({_ONE}, reason) (specdecode_finding_timestamp_seconds{{{_OURS}}}))",
            name | {"reason": "finding"},
            value="since",
            unit="dateTimeAsIso",
            width=7,
            description="What the guard sees besides; nothing is done about it.",
        ),
        bars(
            "KV cache: planned too much (+), too little (-)",
            Query(
                f"sort_desc(topk(10, abs(max by ({_ONE}, mode) (specdecode_plan_error_ratio{{{_OURS}}}))))"
                f" * 0 + on ({_ONE}, mode) max by ({_ONE}, mode) (specdecode_plan_error_ratio{{{_OURS}}})",
                "{{namespace}}/{{name}} {{mode}}",
                is_now=True,
            ),
            steps=((None, _MIND), (-0.1, _WELL), (0.1, _ILL)),
            description="(planned - measured) / measured, the ten that are furthest off. "
            "Measured plans of the same shape are corrected by it.",
            unit="percentunit",
            width=7,
            defaults={"min": -0.3, "max": 0.3, "decimals": 1},
        ),
    )


def _operator() -> tuple[Panel, ...]:
    tick, lag = "specdecode_tick_seconds", "specdecode_watch_lag_seconds"
    return (
        lines(
            "Evaluation of all deployments, mean",
            Query(f"sum by (pod) (rate({tick}_sum[$window])) / sum by (pod) (rate({tick}_count[$window]))", "{{pod}}"),
            unit="s",
            width=6,
            defaults={"min": 0},
            description="One is due every 15 s unless `evaluationIntervalSeconds` says otherwise.",
        ),
        lines(
            "Prometheus queries",
            Query("sum by (outcome) (rate(specdecode_prometheus_query_total[$window]))", "{{outcome}}"),
            unit="reqps",
            width=6,
            defaults={"min": 0},
            overrides=[named("failed", color=_ILL), named("answered", color=_WELL)],
        ),
        lines(
            "Reconciles by result",
            Query("sum by (result) (rate(specdecode_reconcile_total[$window]))", "{{result}}"),
            unit="ops",
            width=6,
            defaults={"min": 0},
        ),
        lines(
            "How long the watch has been deaf",
            Query(f"max by (pod) ({lag})", "{{pod}}"),
            unit="s",
            width=6,
            defaults={"min": 0},
            description="Above 0 the operator does not hear of changes and restarts itself.",
        ),
        timeline(
            "Leader",
            Query("max by (pod) (specdecode_leader)", "{{pod}}"),
            ((0, "waits", "#8e8e8e"), (1, "works", _WELL)),
            width=8,
            height=6,
        ),
        lines(
            "Resources looked after",
            Query("sum(specdecode_resources)", "resources"),
            width=8,
            height=6,
            defaults={"min": 0, "decimals": 0},
        ),
        lines(
            "Memory of the operator",
            Query(
                "max by (pod) (process_resident_memory_bytes and on (instance, job) specdecode_build_info)", "{{pod}}"
            ),
            unit="bytes",
            width=8,
            height=6,
            defaults={"min": 0},
        ),
    )


def fleet() -> Json:
    """The whole dashboard."""
    items: tuple[str | Panel, ...] = (
        *_now(),
        *_modes(),
        "Acceptance and speed-up",
        *_acceptance(),
        "What the guard says",
        *_told(),
    )
    link = {
        "type": "link",
        "title": "One deployment",
        "url": "/d/specdecode-deployment",
        "keepTime": True,
        "includeVars": False,
        "icon": "dashboard",
    }
    return dashboard(
        UID,
        "Speculative decoding: fleet",
        "All deployments of the specdecode operator, and the operator itself.",
        variables=[
            label_variable("namespace", "Namespace", "specdecode_condition", "namespace", is_multiple=True),
            window_variable(),
        ],
        panels=laid_out((*items, "The operator", *_operator())),
        annotations={"list": []},
        links=[link],
        time={"from": "now-6h", "to": "now"},
    )
