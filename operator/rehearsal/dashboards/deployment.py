"""The dashboard of one deployment: what it runs and why, what the draft is worth, and what users wait for."""

from rehearsal.dashboards.engine_series import (
    ACCEPTED,
    CONTROL,
    DRAFTS,
    ENGINES,
    MAIN,
    METER,
    PER_POSITION,
    PROPOSED,
    TPOT,
    TTFT,
    edge_of,
    rate,
    ratio,
)
from rehearsal.dashboards.panels import (
    MODE_COLOURS,
    MODE_NUMBERS,
    SOURCE,
    Json,
    Panel,
    Query,
    between,
    dashboard,
    dashed,
    label_variable,
    laid_out,
    lines,
    mapped,
    named,
    stat,
    table,
    timeline,
    window_variable,
)

UID = "specdecode-deployment"

_OURS = 'namespace="$namespace",name="$deployment"'

_BOUNDS = (
    "A histogram knows a quantile only to the edges of one bucket: it lies in the band, and where in it nobody knows. "
    "Nothing is interpolated. Above the last edge, 80 s for TPOT and 2,560 s for TTFT, the band is a line. "
    "The guard's own bounds are wider where there are few requests."
)


_ACCEPTANCE_RATE = ratio(rate(ACCEPTED), rate(PROPOSED))
_ACCEPTANCE_LENGTH = f"1 + {ratio(rate(ACCEPTED), rate(DRAFTS))}"


def _shown(metric: str, by: str = "") -> str:
    """A metric of the operator, whichever process shows it."""
    return f"max {f'by ({by}) ' if by else ''}({metric}{{{_OURS}}})"


def _mode_number() -> str:
    parts = (
        f'{number} * max by (mode) (specdecode_effective{{{_OURS},mode="{mode}"}})'
        for mode, number in MODE_NUMBERS.items()
    )
    return f"sum({' or '.join(parts)})"


def _mode_words() -> list[tuple[float, str, str]]:
    return [(number, mode, MODE_COLOURS[mode]) for mode, number in MODE_NUMBERS.items()]


def _now() -> tuple[Panel, ...]:
    p99 = "of the bucket that the P99 lies in."
    return (
        stat("Mode", _mode_number(), width=4, defaults={"mappings": mapped(_mode_words())}),
        stat(
            "Acceptance rate",
            _ACCEPTANCE_RATE,
            unit="percentunit",
            description="Accepted / proposed draft tokens. Empty while nothing speculates.",
        ),
        stat(
            "Tokens per step",
            _ACCEPTANCE_LENGTH,
            defaults={"decimals": 2},
            description="Acceptance length: 1 + accepted tokens / drafts.",
        ),
        stat(
            "Speed-up",
            _shown("specdecode_speedup_ratio"),
            steps=((None, "red"), (1.0, "orange"), (1.1, "green")),
            unit="suffix:x",
            defaults={"decimals": 2},
            description="Time per output token without speculation / with it. Empty while it cannot be told.",
        ),
        stat("TPOT P99 above", edge_of(TPOT, 0.99, is_upper=False), unit="s", description=f"Lower edge {p99}"),
        stat("TPOT P99 at most", edge_of(TPOT, 0.99, is_upper=True), unit="s", description=f"Upper edge {p99}"),
        stat("Running", f"sum(vllm:num_requests_running{{{ENGINES}}})", width=2),
        stat("Pods up", f"sum(up{{{ENGINES}}})", width=3),
        timeline("Mode", Query(_mode_number(), "mode"), _mode_words(), width=24, height=4),
        table(
            "Conditions",
            _shown("specdecode_condition", "type, status, reason"),
            {"type": "condition", "status": "status", "reason": "reason"},
            width=8,
            height=8,
        ),
        table(
            "Rollback in force",
            f"1000 * {_shown('specdecode_rollback_timestamp_seconds', 'from, to, reason, helped')}",
            {"from": "from", "to": "to", "reason": "reason", "helped": "helped"},
            value="since",
            unit="dateTimeAsIso",
            width=10,
            height=8,
            description="Empty: the mode that the spec asks for runs. `kubectl specdecode explain` tells why, with "
            "the numbers.",
        ),
        table(
            "Findings",
            f"1000 * {_shown('specdecode_finding_timestamp_seconds', 'reason')}",
            {"reason": "finding"},
            value="since",
            unit="dateTimeAsIso",
            width=6,
            height=8,
            description="What the guard sees besides; nothing is done about it.",
        ),
    )


def _acceptance() -> tuple[Panel, ...]:
    share: Json = {"unit": "percentunit", "defaults": {"min": 0, "max": 1}}
    return (
        lines(
            "Acceptance rate",
            Query(_ACCEPTANCE_RATE, "accepted / proposed"),
            Query(_shown("specdecode_guard_acceptance_floor_ratio"), "floor of the guard"),
            overrides=[dashed("floor of the guard")],
            description="Under the floor the guard turns speculation off, unless it is measured to pay all the same.",
            **share,
        ),
        lines(
            "Acceptance length: tokens per step",
            Query(_ACCEPTANCE_LENGTH, "tokens per step"),
            defaults={"min": 1, "decimals": 2},
            description="1 + accepted tokens / drafts. At 1 a draft brings nothing.",
        ),
        lines(
            "Acceptance by position in the draft",
            Query(
                f"{rate(PER_POSITION, by='position')} / on () group_left () ({rate(DRAFTS)} > 0)",
                "position {{position}}",
            ),
            description="Share of the drafts whose token at this position, counted from 0, was accepted. "
            "When the last ones bring nothing, propose fewer.",
            **share,
        ),
        lines(
            "Acceptance by temperature, mean of requests",
            Query(
                ratio(rate(f"{METER}_sum", by="temperature_bucket"), rate(f"{METER}_count", by="temperature_bucket")),
                "temperature {{temperature_bucket}}",
            ),
            description="Needs `guard.meter: true`. An average over all hides a minority.",
            **share,
        ),
        lines(
            "Requests that accept half or less, by temperature",
            Query(
                ratio(
                    rate(f"{METER}_bucket", f'{MAIN},le="0.5"', "temperature_bucket"),
                    rate(f"{METER}_count", by="temperature_bucket"),
                ),
                "temperature {{temperature_bucket}}",
            ),
            description="Needs `guard.meter: true`. 0.5 is an edge of the histogram: this share is exact.",
            **share,
        ),
        lines(
            "Requests by temperature",
            Query(rate(f"{METER}_count", by="temperature_bucket"), "temperature {{temperature_bucket}}"),
            stacked=True,
            unit="reqps",
            defaults={"min": 0},
            description="Needs `guard.meter: true`.",
        ),
    )


def _quantiles(title: str, histogram: str, limit: str, description: str) -> Panel:
    def edge(quantile: float, *, is_upper: bool) -> Query:
        word = "at most" if is_upper else "above"
        return Query(edge_of(histogram, quantile, is_upper=is_upper), f"P{100 * quantile:g} {word}")

    edges = (edge(quantile, is_upper=is_upper) for quantile in (0.5, 0.99) for is_upper in (False, True))
    return lines(
        title,
        *edges,
        Query(_shown(limit), "limit of P99"),
        unit="s",
        defaults={"min": 0},
        overrides=[
            *between("P50 above", "P50 at most", "blue"),
            *between("P99 above", "P99 at most", "purple"),
            dashed("limit of P99"),
        ],
        description=f"{description} {_BOUNDS}",
    )


def _latency() -> tuple[Panel, ...]:
    return (
        _quantiles(
            "TPOT, P50 and P99",
            TPOT,
            "specdecode_guard_tpot_p99_limit_seconds",
            "Time per output token of a request: what speculation is to improve.",
        ),
        _quantiles(
            "TTFT, P50 and P99",
            TTFT,
            "specdecode_guard_ttft_p99_limit_seconds",
            "Time to first token: speculation does not improve it.",
        ),
        lines(
            "TPOT, mean",
            Query(ratio(rate(f"{TPOT}_sum"), rate(f"{TPOT}_count")), "as served"),
            Query(
                ratio(rate(f"{TPOT}_sum", CONTROL), rate(f"{TPOT}_count", CONTROL)),
                "control, without speculation",
            ),
            unit="s",
            defaults={"min": 0},
            overrides=[named("control, without speculation", color="orange")],
            description="Of the control replica where `guard.baseline.controlReplicas` keeps one.",
        ),
        lines(
            "Speed-up against the baseline",
            Query(_shown("specdecode_speedup_ratio_low"), "at least"),
            Query(_shown("specdecode_speedup_ratio_high"), "at most"),
            Query(_shown("specdecode_speedup_ratio", "source"), "speed-up, from {{source}}"),
            Query("vector(1)", "neither gain nor loss"),
            unit="suffix:x",
            defaults={"decimals": 2},
            overrides=[*between("at least", "at most", "green"), dashed("neither gain nor loss")],
            description="With its 95 % interval, and where the baseline comes from. Rewritten only when it moves by a "
            "step that matters.",
        ),
        lines(
            "KV cache per GPU, planned and measured",
            Query(_shown("specdecode_plan_kv_cache_bytes", "mode"), "planned {{mode}}"),
            Query(_shown("specdecode_measured_kv_cache_bytes", "mode"), "measured {{mode}}"),
            unit="bytes",
            defaults={"min": 0},
            custom={"lineInterpolation": "stepAfter"},
            description="Below 0 so much is missing. What is measured appears when the engine has started.",
        ),
        lines(
            "KV cache in tokens, planned and measured",
            Query(_shown("specdecode_plan_kv_tokens", "mode"), "planned {{mode}}"),
            Query(_shown("specdecode_measured_kv_tokens", "mode"), "measured {{mode}}"),
            defaults={"min": 0},
            custom={"lineInterpolation": "stepAfter"},
        ),
    )


def _load() -> tuple[Panel, ...]:
    usage = f"max(vllm:kv_cache_usage_perc{{{ENGINES}}}) or max(vllm:gpu_cache_usage_perc{{{ENGINES}}})"
    return (
        lines(
            "Requests in the engines",
            Query(f"sum(vllm:num_requests_running{{{ENGINES}}})", "running"),
            Query(f"sum(vllm:num_requests_waiting{{{ENGINES}}})", "waiting"),
            defaults={"min": 0},
            width=6,
            description="Many at once make speculation cost more than it brings.",
        ),
        lines(
            "KV cache in use, fullest pod",
            Query(usage, "in use"),
            unit="percentunit",
            defaults={"min": 0, "max": 1},
            width=6,
        ),
        lines(
            "Tokens per second",
            Query(rate("vllm:generation_tokens_total", ENGINES), "generated"),
            defaults={"min": 0},
            width=6,
        ),
        lines(
            "Answers and preemptions",
            Query(rate("vllm:request_success_total", ENGINES), "answers"),
            Query(rate("vllm:num_preemptions_total", ENGINES), "preemptions"),
            unit="ops",
            defaults={"min": 0},
            width=6,
            overrides=[named("preemptions", color="red")],
            description="Preemptions: the KV cache is too small for the load.",
        ),
    )


def _decisions() -> Json:
    """Every decision in the range: the metric's value is the moment it was taken."""
    by = "action, from, to, reason"
    return {
        "name": "Decisions",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": f"1000 * {_shown('specdecode_decision_timestamp_seconds', by)}",
        "step": "30s",
        "useValueForTime": True,
        "titleFormat": "{{action}}: {{from}} to {{to}}",
        "textFormat": "{{reason}}",
    }


def deployment() -> Json:
    """The whole dashboard."""
    items: tuple[str | Panel, ...] = (
        *_now(),
        "What the draft is worth",
        *_acceptance(),
        "What users wait for, and what it costs",
        *_latency(),
        "Load",
        *_load(),
    )
    link = {"type": "link", "title": "Fleet", "url": "/d/specdecode-fleet", "keepTime": True, "icon": "dashboard"}
    return dashboard(
        UID,
        "Speculative decoding: deployment",
        "One SpecDecodeDeployment: mode, acceptance, latency, speed-up, memory and load.",
        variables=[
            label_variable("namespace", "Namespace", "specdecode_condition", "namespace"),
            label_variable("deployment", "Deployment", 'specdecode_condition{namespace="$namespace"}', "name"),
            window_variable(),
        ],
        panels=laid_out(items),
        annotations={"list": [_decisions()]},
        links=[link],
        time={"from": "now-3h", "to": "now"},
    )
