"""Good defaults for the values that travel between the stages, so that a test states only what it is about.

Everything is frozen. Bodies are changed by dotted paths: `resource(**{"spec.replicas": 3})`; `ABSENT` removes a field.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

import yaml

from specdecode.api.resource import Rejection, SpecDecodeDeployment, parse
from specdecode.api.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    OffBand,
    OffBaseline,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.vocabulary import Mode
from specdecode.decide.facts import Availability, Batch, Child, Cluster, Histogram, Measurement, PodFact, Window
from specdecode.decide.situation import Situation
from specdecode.plan.types import LedgerLine, ModePlan, Plan


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""As the value of a dotted path: remove the field. An enum member, so that a copy is still the same."""

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
GIB = 1024**3
UID = "4f5e2c1a-0000-4000-8000-000000000001"

_GOOD = """
apiVersion: specdecode.io/v1alpha1
kind: SpecDecodeDeployment
metadata: {name: llama-70b, namespace: serving, uid: 4f5e2c1a-0000-4000-8000-000000000001, generation: 1}
spec:
  replicas: 2
  model: {name: meta-llama/Llama-3.1-70B-Instruct, quantization: fp8_per_tensor}
  engine: {image: "vllm/vllm-openai:v0.32.0", maxModelLen: 8192, maxNumSeqs: 64}
  accelerator: {product: NVIDIA-H100-80GB-HBM3, count: 2}
  speculation:
    method: draft_model
    numSpeculativeTokens: 5
    draft: {name: meta-llama/Llama-3.1-8B-Instruct, quantization: fp8_per_tensor}
    fallbacks: [Draft, NGram]
"""


def _set(body: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    if value is ABSENT:
        body.pop(last, None)
    else:
        body[last] = value


def with_overrides(body: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`body`, changed in place, at dotted paths."""
    for path, value in overrides.items():
        _set(body, path, value)
    return body


def body(**overrides: Any) -> dict[str, Any]:
    """A good resource as the API server has it: 70B with a quantised 8B draft on two H100."""
    return with_overrides(yaml.safe_load(_GOOD), overrides)


def resource(**overrides: Any) -> SpecDecodeDeployment:
    """A resource that passed every rule; see `body` for the defaults."""
    parsed = parse(body(**overrides))
    assert not isinstance(parsed, Rejection), str(parsed)
    return parsed


def mode_plan(mode: Mode = Mode.QUANTIZED_DRAFT, **overrides: Any) -> ModePlan:
    """A mode that fits, with a command line that says which mode it is."""
    speculative = {
        Mode.QUANTIZED_DRAFT: ('--speculative-config={"method":"draft_model","quantization":"fp8_per_tensor"}',),
        Mode.DRAFT: ('--speculative-config={"method":"draft_model"}',),
        Mode.NGRAM: ('--speculative-config={"method":"ngram"}',),
        Mode.OFF: (),
    }
    good = ModePlan(
        mode=mode,
        fits=True,
        short_bytes=0,
        ledger=(LedgerLine("memory", 80 * GIB, 80 * GIB, 80 * GIB, "the label"),),
        kv_cache_bytes_per_gpu=30 * GIB,
        bytes_per_token=192 * 1024,
        kv_cache_tokens=160_000,
        requests_at_max_model_len=19.5,
        bytes_per_block=16 * 163840,
        block_size_tokens=16,
        request_bytes=8192 * 163840,
        shape="shape",
        load_bytes=80 * GIB,
        arguments=("--model=meta-llama/Llama-3.1-70B-Instruct", "--max-model-len=8192", *speculative[mode]),
        remedies=(),
    )
    return replace(good, **overrides)


def plan(*modes: Mode | ModePlan, **overrides: Any) -> Plan:
    """A plan with the given ladder, each mode fitting; without modes the whole ladder of `resource()`."""
    rungs = modes or (Mode.QUANTIZED_DRAFT, Mode.DRAFT, Mode.NGRAM, Mode.OFF)
    ladder = tuple(rung if isinstance(rung, ModePlan) else mode_plan(rung) for rung in rungs)
    good = Plan(
        requested_mode=ladder[0].mode,
        ladder=ladder,
        advice=(),
        engine_version="0.32.0",
        gpu_memory_bytes=int(79.18 * GIB),
        gpu_label_bytes=80 * 1000**3,
        gpu_count=2,
        sources=("meta-llama/Llama-3.1-70B-Instruct: catalogue", "meta-llama/Llama-3.1-8B-Instruct: catalogue"),
        baseline_key="0ff0ff0ff0",
        draft_key="d4af7d4af7",
    )
    return replace(good, **overrides)


def histogram(*, below_seconds: Mapping[float, float], mean_seconds: float) -> Histogram:
    """A histogram from cumulative counts by upper bound; the last count is the number of observations."""
    buckets = tuple(sorted(below_seconds.items()))
    count = buckets[-1][1]
    closed = buckets if buckets[-1][0] == float("inf") else (*buckets, (float("inf"), count))
    return Histogram(closed, sum_seconds=mean_seconds * count, count=count)


def window(**overrides: Any) -> Window:
    """Five minutes of healthy traffic: acceptance rate 0.75, mean TPOT 20 ms, 16 requests running per pod."""
    good = Window(
        seconds=300.0,
        drafts=4000.0,
        draft_tokens=20_000.0,
        accepted_tokens=15_000.0,
        requests=600.0,
        step_seconds_sum=400.0,
        step_count=4000.0,
        tpot=histogram(below_seconds={0.01: 30, 0.025: 580, 0.05: 600}, mean_seconds=0.02),
        ttft=histogram(below_seconds={0.1: 300, 0.25: 590, 0.5: 600}, mean_seconds=0.12),
        e2e=histogram(below_seconds={5.0: 450, 10.0: 600}, mean_seconds=4.0),
        running_requests=16.0,
        kv_cache_usage=0.4,
    )
    return replace(good, **overrides)


def _fifth_of(whole: Histogram | None) -> Histogram | None:
    if whole is None:
        return None
    buckets = tuple((bound, count / 5) for bound, count in whole.buckets)
    return Histogram(buckets, whole.sum_seconds / 5, whole.count / 5)


def fifth(slow: Window) -> Window:
    """The newest fifth of a window in which nothing changed."""
    return replace(
        slow,
        seconds=slow.seconds / 5,
        drafts=slow.drafts / 5,
        draft_tokens=slow.draft_tokens / 5,
        accepted_tokens=slow.accepted_tokens / 5,
        requests=slow.requests / 5,
        step_seconds_sum=slow.step_seconds_sum / 5,
        step_count=slow.step_count / 5,
        tpot=_fifth_of(slow.tpot),
        ttft=_fifth_of(slow.ttft),
        e2e=_fifth_of(slow.e2e),
    )


def _share(part: Window, count: int, newest: float) -> tuple[Batch, ...]:
    """A window as `count` equal batches; the newest ends at `newest`."""
    seconds = part.seconds / count
    tpot = part.tpot or Histogram((), 0.0, 0.0)
    # As many tokens as the steps give at the mean time per token, so that both say the same.
    tokens = part.step_seconds_sum / tpot.mean_seconds if tpot.count > 0 else part.drafts + part.accepted_tokens
    return tuple(
        Batch(
            at=newest - seconds * left,
            seconds=seconds,
            drafts=part.drafts / count,
            draft_tokens=part.draft_tokens / count,
            accepted_tokens=part.accepted_tokens / count,
            generation_tokens=(tokens + part.requests) / count,
            requests=part.requests / count,
            step_seconds_sum=part.step_seconds_sum / count,
            step_count=part.step_count / count,
            tpot_seconds_sum=tpot.sum_seconds / count,
            tpot_count=tpot.count / count,
            running_requests=part.running_requests,
        )
        for left in reversed(range(count))
    )


def batches_of(slow: Window, fast: Window, now: datetime = NOW) -> tuple[Batch, ...]:
    """Four batches of what happened in the fast window, after sixteen of what happened before it."""
    earlier = slow.before(fast)
    fast_batches = _share(fast, 4, now.timestamp())
    return fast_batches if earlier is slow else _share(earlier, 16, now.timestamp() - fast.seconds) + fast_batches


def measurement(**overrides: Any) -> Measurement:
    """A healthy measurement of the mode `QuantizedDraft`; `fast` is a fifth of `slow`, and batches follow from both."""
    slow = overrides.get("slow") or window()
    fast = overrides.get("fast") or fifth(slow)
    good = Measurement(
        availability=Availability.MEASURED,
        cause="",
        mode=Mode.QUANTIZED_DRAFT,
        fast=fast,
        slow=slow,
        pods_up=2,
        newest_sample_age_seconds=5.0,
        batches=batches_of(slow, fast),
    )
    return replace(good, **overrides)


def off_band(tpot: str = "30ms", running: int = 16, **overrides: Any) -> OffBand:
    """What the deployment did without speculation at one load."""
    return OffBand(running_requests=running, tpot_mean=tpot, at=NOW, **overrides)


def off_baseline(*bands: OffBand, key: str = "0ff0ff0ff0") -> OffBaseline:
    """Recorded loads of `plan()`; without any, one of 16 running requests."""
    return OffBaseline(key=key, bands=bands or (off_band(),))


def pod_fact(**overrides: Any) -> PodFact:
    """A pod of `resource()` that serves."""
    good = PodFact(
        name="llama-70b-7d4b9c6f5d-x2x4z",
        mode=Mode.QUANTIZED_DRAFT,
        is_ready=True,
        is_terminating=False,
        is_pending=False,
        restarts=0,
        created_at=datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC),
    )
    return replace(good, **overrides)


def child(**overrides: Any) -> Child:
    """The Deployment of `resource()`, rolled out with both replicas."""
    good = Child(
        uid="4f5e2c1a-0000-4000-8000-000000000002",
        is_ours=True,
        generation=1,
        observed_generation=1,
        desired_replicas=2,
        replicas=2,
        updated_replicas=2,
        ready_replicas=2,
        available_replicas=2,
        mode=Mode.QUANTIZED_DRAFT,
        spec_hash=resource().spec_hash,
        intent_hash="1a2b3c4d5e",
    )
    return replace(good, **overrides)


def condition(kind: ConditionType, status: str, *, seconds_ago: float = 3600, reason: str = "Test") -> Condition:
    """A condition that has had this status for `seconds_ago`."""
    return Condition(
        type=kind,
        status=ConditionStatus(status),
        reason=reason,
        last_transition_time=NOW - timedelta(seconds=seconds_ago),
    )


def status(**overrides: Any) -> SpecDecodeDeploymentStatus:
    """The status of `resource()` that has been rolled out and measured for an hour."""
    good = SpecDecodeDeploymentStatus(
        observed_generation=1,
        spec_hash=resource().spec_hash,
        mode=Mode.QUANTIZED_DRAFT,
        conditions=(
            condition(ConditionType.RECONCILING, "False"),
            condition(ConditionType.METRICS_AVAILABLE, "True"),
            condition(ConditionType.STALLED, "False"),
        ),
    )
    return good.model_copy(update=overrides)


def situation(
    *, annotations: Mapping[str, str] | None = None, spec: Mapping[str, Any] | None = None, **overrides: Any
) -> Situation:
    """A healthy hour of `resource()` with `QuantizedDraft`, at `NOW`; every rule is silent.

    `spec` holds dotted paths for `resource`; overrides are `status`, `plan`, `child`, `pods`, `measurement`, `now`.
    """
    good = resource(**{"metadata.annotations": dict(annotations or {})}, **(spec or {}))
    return Situation(
        resource=good.model_copy(update={"status": overrides.get("status", status())}),
        plan=overrides.get("plan", plan()),
        cluster=Cluster(overrides.get("child", child()), overrides.get("pods", ())),
        measurement=overrides.get("measurement", measurement()),
        now=overrides.get("now", NOW),
        fast_window_seconds=60.0,
    )
