"""The project's own chart, through the real helm: rendered for its rights, or installed as in any cluster."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rehearsal.control_plane import ControlPlane
from rehearsal.processes import ProcessError, run

CHART = Path(__file__).parents[2] / "charts" / "specdecode-operator"
RELEASE = "specdecode-operator"
"""Name of the release, and so of what the chart makes."""

_RIGHTS = ("serviceaccount", "rbac")
_SECONDS = 60.0

Body = dict[str, Any]


class Chart:
    """The chart and one control plane. Helm keeps its own files below `directory`."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self._plane = plane
        self._home = directory

    async def rendered(self, namespace: str, values: Mapping[str, Any], *templates: str) -> list[Body]:
        """What the chart makes of some values: all of it, or only of the templates that are named.

        Raises:
            ProcessError: the values are refused, in helm's words.
        """
        shown = [f"--show-only=templates/{name}.yaml" for name in templates]
        text = await self._helm("template", RELEASE, CHART, f"--namespace={namespace}", *shown, values=values)
        bodies = await asyncio.to_thread(lambda: list(yaml.safe_load_all(text)))
        return [body for body in bodies if body]

    async def install(self, namespace: str, values: Mapping[str, Any], *flags: str) -> None:
        """`helm install` into a namespace that it makes."""
        await self._helm(
            "install", RELEASE, CHART, f"--namespace={namespace}", "--create-namespace", *flags, values=values
        )

    async def upgrade(self, namespace: str, values: Mapping[str, Any], *flags: str) -> None:
        """`helm upgrade` with these values, which replace all given before."""
        await self._helm("upgrade", RELEASE, CHART, f"--namespace={namespace}", *flags, values=values)

    async def uninstall(self, namespace: str, *flags: str) -> str:
        """`helm uninstall`; what it says, for example of what it keeps."""
        return await self._helm("uninstall", RELEASE, f"--namespace={namespace}", *flags)

    async def _helm(self, *words: str | Path, values: Mapping[str, Any] | None = None) -> str:
        stdin = None if values is None else yaml.safe_dump(dict(values))
        answer = await run(
            [self._plane.binaries.helm, *words, *([] if values is None else ["--values=-"])],
            stdin=stdin,
            # Nothing of the user's: no repositories, no plugins, no other cluster.
            environment={
                "HOME": str(self._home),
                "HELM_CACHE_HOME": str(self._home / "helm"),
                "HELM_CONFIG_HOME": str(self._home / "helm"),
                "HELM_DATA_HOME": str(self._home / "helm"),
                "KUBECONFIG": str(self._plane.kubeconfig),
                "PATH": "/usr/local/bin:/usr/bin:/bin",
            },
            timeout_seconds=_SECONDS,
        )
        if answer.returncode:
            raise ProcessError(f"helm {' '.join(map(str, words))}: {answer.errors.strip()}")
        return answer.output


async def identity(plane: ControlPlane, namespace: str, values: Mapping[str, Any] | None = None) -> Path:
    """A namespace with the operator's service account and the rights that the chart gives it, and its kubeconfig.

    Unless `values` say otherwise the operator may look after this namespace and no other.
    """
    wanted = {"watch": {"namespaces": [namespace]}} | dict(values or {})
    rights = await Chart(plane, plane.directory / "helm").rendered(namespace, wanted, *_RIGHTS)
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await plane.apply(yaml.safe_dump_all([home, *rights]))
    return await plane.kubeconfig_for(namespace, RELEASE)
