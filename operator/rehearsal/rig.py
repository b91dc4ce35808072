"""What all stories share: binaries, one control plane, the CRD. Each story gets a stage of its own on it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from rehearsal.binaries import Binaries, ensure
from rehearsal.binaries.ways import Say
from rehearsal.chart import Chart
from rehearsal.control_plane import ControlPlane
from specdecode.api.schema import custom_resource_definition
from specdecode.kube import Kube, connect


@dataclass(frozen=True)
class Rig:
    """A running control plane with the CRD."""

    binaries: Binaries
    plane: ControlPlane
    kube: Kube
    """As administrator: for looking, never for the operator."""
    directory: Path

    @property
    def chart(self) -> Chart:
        """The project's own."""
        return Chart(self.plane, self.directory / "helm")


@asynccontextmanager
async def raised(directory: Path, say: Say) -> AsyncIterator[Rig]:
    """Start everything that stories share; everything is stopped on the way out."""
    binaries = await asyncio.to_thread(ensure, say)
    async with ControlPlane(binaries, directory / "control-plane", say) as plane:
        await plane.apply(yaml.safe_dump(custom_resource_definition()))
        await plane.established()
        async with connect(str(plane.kubeconfig)) as kube:
            yield Rig(binaries, plane, kube, directory)
