"""What most stories begin with, and the questions that many of them ask."""

from collections.abc import Awaitable, Callable
from typing import Any

from rehearsal.stage import NAME, Body, Stage
from specdecode.api.vocabulary import API_VERSION, KIND

HEALTHY = 0.87
"""Acceptance of each draft token, given the one before it: 76 % of three proposed tokens are accepted."""
COLLAPSED = 0.08
"""3 % of three proposed tokens are accepted."""
WINDOW_SECONDS = 30
"""The guard's window in the stories: six scrapes."""
OFF_WITHIN_SECONDS = 60
"""From the fault to `Off` being applied, with 5-s scrapes."""

SPECULATIVE_FLAGS = ("--speculative", "--spec-", "--num-speculative")


def manifest(stage: Stage, **spec: Any) -> Body:
    """An 8B model with a 1B draft on one H100; `spec` replaces whole blocks."""
    body: Body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": NAME, "namespace": stage.namespace},
        "spec": {
            "replicas": 1,
            "model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
            "engine": {"image": "vllm/vllm-openai:v0.32.0", "maxModelLen": 8192, "maxNumSeqs": 64},
            "accelerator": {"product": "NVIDIA-H100-80GB-HBM3", "count": 1},
            "speculation": speculation(),
            "guard": {"window": f"{WINDOW_SECONDS}s"},
            # Several stories share a cluster; each has a node of its own.
            "podTemplate": {"nodeSelector": {"kubernetes.io/hostname": stage.node.name}},
        },
    }
    body["spec"] |= spec
    return body


def speculation(**changes: Any) -> Body:
    """A 1B draft that proposes three tokens; `changes` replaces keys."""
    return {
        "method": "draft_model",
        "numSpeculativeTokens": 3,
        "draft": {"name": "meta-llama/Llama-3.2-1B-Instruct"},
    } | changes


def condition_is(stage: Stage, kind: str, status: str, reason: str = "") -> Callable[[], Awaitable[Any]]:
    """Asks whether a condition has a status, and a reason if one is named."""

    async def probe() -> Any:
        condition = await stage.condition(kind)
        return condition.get("status") == status and reason in ("", condition.get("reason")) and condition

    return probe


def status_has(stage: Stage, *path: str, value: Any = None) -> Callable[[], Awaitable[Any]]:
    """Asks for a field of the status: that it is there, or that it is `value`."""

    async def probe() -> Any:
        found: Any = await stage.status()
        for key in path:
            found = (found or {}).get(key)
        return found is not None if value is None else found == value

    return probe


def finding(stage: Stage, reason: str) -> Callable[[], Awaitable[Any]]:
    """Asks for one of the status' findings."""

    async def probe() -> Any:
        found = (await stage.status()).get("findings", [])
        return next((dict(finding) for finding in found if finding["reason"] == reason), None)

    return probe


def applied_mode_is(stage: Stage, mode: str) -> Callable[[], Awaitable[Any]]:
    """Asks whether the Deployment's template is that mode's."""

    async def probe() -> Any:
        deployment = await stage.deployment()
        return deployment and deployment["spec"]["template"]["metadata"]["labels"]["specdecode.io/mode"] == mode

    return probe


async def serve(stage: Stage, body: Body, *, mode: str, concurrency: int, within: float = 60) -> None:
    """Apply, wait until it serves in that mode, send traffic, and wait until it is measured."""
    await stage.apply(body)
    stage.say(f"kubectl apply: {body['spec']['model']['name']}, mode {mode} asked for")
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=within)
    await stage.check(f"the mode is {mode}", (await stage.status()).get("mode") == mode)
    stage.say(f"traffic: {concurrency} requests at a time")
    stage.traffic.concurrency = concurrency
    await stage.expect("it is measured", condition_is(stage, "MetricsAvailable", "True", "Measured"), within=60)


async def healthy_for_a_window(stage: Stage) -> None:
    """One whole window of healthy traffic, so that there is something to compare with."""
    await stage.holds(
        "healthy: nothing is changed",
        lambda: _no_decision(stage),
        seconds=WINDOW_SECONDS + 10,
    )


async def _no_decision(stage: Stage) -> bool:
    status = await stage.status()
    return not status.get("rollback") and not status.get("history")


async def collapse_and_roll_back(stage: Stage) -> float:
    """Let acceptance collapse and wait for `Off`; returns the seconds from the fault to the applied mode."""
    stage.say("the draft goes bad: acceptance falls from 76 % to 3 %")
    stage.behave(draft=COLLAPSED)
    return await stage.expect(
        f"Off is applied within {OFF_WITHIN_SECONDS} s of the fault",
        applied_mode_is(stage, "Off"),
        within=OFF_WITHIN_SECONDS,
    )


def speculating_pods(stage: Stage) -> list[str]:
    """Names of pods that were started with a speculative flag and are not going away."""
    return [
        pod.name
        for pod in stage.pods()
        if not pod.terminating and any(argument.startswith(SPECULATIVE_FLAGS) for argument in pod.args)
    ]


async def told_why(stage: Stage, reason: str) -> None:
    """Status, Event and metric all say why, with numbers."""
    rollback = (await stage.status())["rollback"]
    await stage.check(f"status names the reason {reason}", rollback["reason"] == reason)
    await stage.check("status has the numbers", rollback["evidence"] and any(c.isdigit() for c in rollback["message"]))
    stage.keep(message=rollback["message"], evidence=rollback["evidence"])
    await stage.expect("an Event says it", lambda: stage.events("RolledBack"), within=10)

    async def counted() -> float:
        labels = {"namespace": stage.namespace, "reason": reason}
        return await stage.running_operator.metric("specdecode_rollbacks_total", **labels)

    await stage.expect("the operator's metric counts it", counted, within=10)


async def helped(stage: Stage) -> None:
    """The operator compares before and after at the same load, and says that the step helped."""
    probe = status_has(stage, "rollback", "helped", value="true")
    await stage.expect("it helped, says the operator", probe, within=WINDOW_SECONDS + 60)
    rollback = (await stage.status())["rollback"]
    await stage.check("with numbers from before and after", rollback.get("before") and rollback.get("after"))
    stage.say(f"mean TPOT {rollback['before']['tpotMean']} -> {rollback['after']['tpotMean']}")
    stage.keep(before=rollback["before"], after=rollback["after"])
