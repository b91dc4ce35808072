"""`python -m bench.scale.watch_only COUNT`: a Kopf operator that only watches, the floor below which no operator on
Kopf can be.

It has the five watches of ours and keeps nothing. It says when it has seen every resource.
"""

import asyncio
import sys
from typing import Any

import kopf

from specdecode.api.vocabulary import FIELD_MANAGER, GROUP, LABEL_MANAGED_BY, PLURAL, VERSION

SEEN = "every resource was seen"


def chunked_settings() -> kopf.OperatorSettings:
    """Kopf's own settings, but for lists in chunks and nothing that is not needed."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30
    settings.watching.inactivity_timeout = 70
    settings.watching.chunk_size = 500
    settings.posting.enabled = False
    settings.peering.standalone = True
    return settings


def registry(count: int) -> kopf.OperatorRegistry:
    """Hooks that count."""
    found = kopf.OperatorRegistry()
    seen: set[str] = set()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=found)
    async def on_resource(event: kopf.RawEvent, **_: Any) -> None:
        seen.add(event["object"]["metadata"]["uid"])
        if len(seen) == count:
            sys.stdout.write(f"{SEEN}\n")
            sys.stdout.flush()

    async def on_child(**_: Any) -> None:
        pass

    ours = {LABEL_MANAGED_BY: FIELD_MANAGER}
    for group, plural in (("apps", "deployments"), ("", "services"), ("", "configmaps"), ("", "pods")):
        kopf.on.event(group, "v1", plural, labels=ours, id=plural, registry=found)(on_child)

    @kopf.on.login(registry=found)
    async def on_login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**kwargs)

    return found


def main() -> None:
    """Watch until told to stop."""
    count = int(sys.argv[1])
    asyncio.run(
        kopf.operator(
            registry=registry(count),
            settings=chunked_settings(),
            clusterwide=True,
            standalone=True,
            identity=FIELD_MANAGER,  # type: ignore[arg-type]  # their type of it is not public
        )
    )


if __name__ == "__main__":
    main()
