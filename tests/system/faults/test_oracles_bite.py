"""Every oracle finds the operator that was broken for it, and has nothing to say of ours."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from system.faults._admin import Admin
from system.faults._lives import ASLEEP, NEW, WORKLOADS, Act, MortalKube, Subject, play
from system.faults._world import install_crd, world
from system.faults.broken.operators import (
    AdoptsByName,
    ChildBeforeLatch,
    ForgetsReverts,
    IgnoresBadInput,
    WritesOnEveryVisit,
)

from rehearsal.chart import RELEASE, identity
from rehearsal.control_plane import ControlPlane
from rehearsal.oracles import Reference, count_differences, counts_of, differences, renamed, unseen_refusals
from specdecode.kube import Kube, connect
from specdecode.reconcile import Reconciler

NAMESPACE = "bite"
STEP_DOWN = next(workload for workload in WORKLOADS if workload.name == "step down")
CHANGED = Act({"spec.engine.maxNumSeqs": 16})
BACK = Act({"spec.engine.maxNumSeqs": 64})


class Bench:
    """Subjects of any operator, and what the API server says of them."""

    def __init__(self, plane: ControlPlane, admin: Admin, kube: Kube) -> None:
        self.plane, self.admin, self.kube = plane, admin, kube
        self._made = 0

    def subject(self, operator: type[Reconciler] = Reconciler) -> Subject:
        self._made += 1
        # At a time of its own, so that reference runs differ in their times.
        now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=7 * self._made)  # noqa: TID251 - a test's clock
        return Subject(self.admin, self.kube, NAMESPACE, f"subject-{self._made:05d}", now, operator)

    def counts(self, name: str) -> Mapping[tuple[str, str], int]:
        whole, _, _ = self.plane.audit_log.read_text().rpartition("\n")  # the last line may be on its way
        entries = map(json.loads, whole.splitlines())
        return counts_of(entries, user=f"system:serviceaccount:{NAMESPACE}:{RELEASE}", namespace=NAMESPACE, name=name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bench(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    await install_crd(plane)
    kubeconfig = await identity(plane, NAMESPACE)
    async with world(plane, tmp_path_factory.mktemp(NAMESPACE), NAMESPACE) as made, connect(str(kubeconfig)) as kube:
        yield Bench(plane, made.admin, kube)


async def lived(subject: Subject, *acts: Act) -> Subject:
    """Some visits of one operator after each act."""
    for act in acts:
        await subject.apply(act)
        await subject.visits(act, MortalKube(subject.kube))
    return subject


async def of_end_states(bench: Bench, operator: type[Reconciler]) -> list[str]:
    """Killed in the middle of a step down, against steps down without a fault."""
    runs = [(subject := bench.subject(), await play(subject, STEP_DOWN, None)) for _ in range(3)]
    reference = Reference.of([renamed(ending.state, subject.name, "it") for subject, ending in runs])
    found = []
    for k in range(1, 4):
        subject = bench.subject(operator)
        ending = await play(subject, STEP_DOWN, k, is_delivered=False)
        found += reference.differs(renamed(ending.state, subject.name, "it"))
    return found


async def of_strangers(bench: Bench, operator: type[Reconciler]) -> list[str]:
    """A Service of the right name that somebody else made, before and after."""
    subject = bench.subject(operator)
    theirs: dict[str, Any] = {"selector": {"app": "theirs"}, "ports": [{"name": "web", "port": 80}]}
    metadata = {"namespace": NAMESPACE, "name": subject.name}
    await bench.admin.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": theirs})
    before = {"Service": await bench.admin.find("Service", NAMESPACE, subject.name)}
    await lived(subject, NEW)
    return differences(before, {"Service": await bench.admin.find("Service", NAMESPACE, subject.name)})


async def of_counts(bench: Bench, operator: type[Reconciler]) -> list[str]:
    """A life in which nothing is left to do: not one write."""
    subject = await lived(bench.subject(), NEW)
    before = bench.counts(subject.name)
    subject.reconciler = operator
    await subject.visits(NEW, MortalKube(subject.kube))
    return count_differences(before, bench.counts(subject.name), verbs=("create", "update", "patch", "delete"))


async def of_reverts(bench: Bench, operator: type[Reconciler]) -> list[str]:
    """There and back, against having been there all the time: what was asked of the engine."""
    direct, reverted = await lived(bench.subject(), NEW), await lived(bench.subject(operator), NEW, CHANGED, BACK)
    asked = []
    for subject in (direct, reverted):
        deployment = await bench.admin.find("Deployment", NAMESPACE, subject.name)
        assert deployment is not None
        asked.append(renamed({"spec": deployment["spec"]}, subject.name, "it"))
    return differences(*asked)


async def of_refusals(bench: Bench, operator: type[Reconciler]) -> list[str]:
    """An argument that the engine does not know."""
    bad = Act(ASLEEP | {"spec.engine.extraArgs": [{"name": "no-such-flag"}]})
    subject = await lived(bench.subject(operator), NEW, bad)
    body = await bench.admin.find("SpecDecodeDeployment", NAMESPACE, subject.name)
    assert body is not None
    return unseen_refusals(body, words="no-such-flag")


@pytest.mark.parametrize(
    ("oracle", "broken"),
    [
        pytest.param(of_end_states, ChildBeforeLatch, id="end states: the child before the latch"),
        pytest.param(of_strangers, AdoptsByName, id="strangers: adoption by name"),
        pytest.param(of_counts, WritesOnEveryVisit, id="counts: a write on every visit"),
        pytest.param(of_reverts, ForgetsReverts, id="reverts: one that is forgotten"),
        pytest.param(of_refusals, IgnoresBadInput, id="refusals: a bad input that nobody mentions"),
    ],
)
async def test_an_oracle_finds_the_operator_that_was_broken_for_it_and_no_fault_in_ours(
    bench: Bench, oracle: Any, broken: type[Reconciler]
) -> None:
    assert await oracle(bench, Reconciler) == []
    assert await oracle(bench, broken) != []
