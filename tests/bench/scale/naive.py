"""`python -m bench.scale.naive PROMETHEUS_URL`: the obvious design. Handlers for create, update and resume, and a timer
per resource that asks Prometheus about that resource and writes what it found into status.

It is as careful as such operators are: one HTTP client, one query per timer, no write when nothing changed. Kopf adds
its finalizer and its annotation to every resource, and every timer is a task. It applies nothing.
"""

import asyncio
import sys
from typing import Any

import httpx
import kopf

from specdecode.api.vocabulary import FIELD_MANAGER, GROUP, PLURAL, VERSION
from specdecode.observe.queries import DEPLOYMENT, NAMESPACE

from .watch_only import chunked_settings

INTERVAL_SECONDS = 15


def _query(namespace: str, name: str) -> str:
    selector = f'{{{NAMESPACE}="{namespace}",{DEPLOYMENT}="{name}"}}'
    accepted, drafts = (f"vllm:spec_decode_num_{what}_total{selector}" for what in ("accepted_tokens", "drafts"))
    return f"1 + sum(rate({accepted}[1m])) / sum(rate({drafts}[1m]))"


def registry(url: str) -> kopf.OperatorRegistry:
    """The handlers."""
    found = kopf.OperatorRegistry()
    client = httpx.AsyncClient(trust_env=False, timeout=10.0)

    @kopf.on.resume(GROUP, VERSION, PLURAL, registry=found)
    @kopf.on.create(GROUP, VERSION, PLURAL, registry=found)
    @kopf.on.update(GROUP, VERSION, PLURAL, registry=found)
    async def on_change(meta: kopf.Meta, status: kopf.Status, patch: kopf.Patch, **_: Any) -> None:
        if status.get("observedGeneration") != meta["generation"]:
            patch.status["observedGeneration"] = meta["generation"]

    @kopf.timer(GROUP, VERSION, PLURAL, interval=INTERVAL_SECONDS, registry=found)
    async def measure(name: str, namespace: str | None, status: kopf.Status, patch: kopf.Patch, **_: Any) -> None:
        answer = await client.get(f"{url}/api/v1/query", params={"query": _query(namespace or "", name)})
        result = answer.json()["data"]["result"]
        observed = dict(status.get("observed") or {})
        if result and observed.get("acceptanceLength") != (length := f"{float(result[0]['value'][1]):.2f}"):
            patch.status["observed"] = observed | {"acceptanceLength": length}

    @kopf.on.login(registry=found)
    async def on_login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**kwargs)

    return found


def main() -> None:
    """Run until told to stop."""
    settings = chunked_settings()
    settings.persistence.finalizer = "bench.specdecode.io/naive"
    asyncio.run(
        kopf.operator(
            registry=registry(sys.argv[1]),
            settings=settings,
            clusterwide=True,
            standalone=True,
            identity=FIELD_MANAGER,  # type: ignore[arg-type]  # their type of it is not public
        )
    )


if __name__ == "__main__":
    main()
