"""Server-side apply of the chosen mode's objects, removal of what it no longer needs, and nothing else. Whole objects,
one field manager.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from specdecode.api.resource import Metadata
from specdecode.drift import is_as_wanted
from specdecode.errors import ForbiddenError, RefusedError
from specdecode.kube import Body, Kube, path_of
from specdecode.manifests.build import Objects
from specdecode.observe.cluster import child_of, is_controlled_by, is_left_behind
from specdecode.status import AWAITING_DELETION, OWNERSHIP_CONFLICT, ApplyFailure


@dataclass(frozen=True)
class Obstacle:
    """An object that stands where one of ours should and is not ours."""

    name: str
    """`Deployment namespace/name`."""
    is_deployment: bool
    """Whether it is in the place of the main Deployment."""
    is_left_behind: bool
    """Whether it belongs to a deleted resource of this name: the garbage collector takes it, nobody has to do anything.
    """


async def find_others(kube: Kube, objects: Objects) -> dict[str, Body]:
    """What there is already of the objects that are no Deployments, by path."""
    found = {path_of(wanted): await kube.find(path_of(wanted)) for wanted in objects.without_arms()}
    return {path: live for path, live in found.items() if live is not None}


def obstacle(
    objects: Objects, owner: Metadata, *, live_deployment: Body | None, others: Mapping[str, Body]
) -> Obstacle | None:
    """What is in the way of these objects, if anything is; what only a person can remove comes first.

    The control arm is not looked at: one that somebody else is in the way of is not wanted.
    """
    found = [(objects.deployment, live_deployment)]
    found += [(wanted, others.get(path_of(wanted))) for wanted in objects.without_arms()]
    foreign = (
        Obstacle(_name(wanted), wanted is objects.deployment, is_left_behind(live["metadata"], owner))
        for wanted, live in found
        if live is not None and not is_controlled_by(live["metadata"], owner.uid)
    )
    return min(foreign, key=lambda each: each.is_left_behind, default=None)


def _name(body: Body) -> str:
    return f"{body['kind']} {body['metadata']['namespace']}/{body['metadata']['name']}"


async def apply_unchanged(kube: Kube, wanted: Body, live: Body | None) -> None:
    """Apply one object, which must not have changed since it was read as `live`. Raises ClusterError.

    A request that was on its way when this process lost its Lease may arrive when a successor has already written:
    then it is a conflict.
    """
    if live is not None:
        identity = {field: live["metadata"][field] for field in ("uid", "resourceVersion")}
        wanted = {**wanted, "metadata": {**wanted["metadata"], **identity}}
    await kube.apply(wanted)


async def apply_main(kube: Kube, objects: Objects, *, live_deployment: Body | None, others: Mapping[str, Body]) -> None:
    """Apply all objects but the control arm and those that are as they should be already. Raises ClusterError."""
    for wanted in objects.without_arms():
        live = others.get(path_of(wanted))
        if live is None or not is_as_wanted(live, wanted):
            await apply_unchanged(kube, wanted, live)
    await apply_unchanged(kube, objects.deployment, live_deployment)


def unused_meters(
    meters: Mapping[str, Body], deployment: Body | None, wanted: Iterable[Objects], uid: str
) -> tuple[Body, ...]:
    """The ConfigMaps of ours, by name, that nothing mounts and nobody wants: what another spec, or another version of
    the operator, has left.

    None while a rollout runs: a pod of the template before it may start anew and would find nothing to mount.
    """
    if deployment is not None and not child_of(deployment, uid).is_rolled_out:
        return ()
    mounted = () if deployment is None else deployment["spec"]["template"]["spec"].get("volumes") or ()
    used = {volume["configMap"]["name"] for volume in mounted if "configMap" in volume}
    used |= {objects.meter["metadata"]["name"] for objects in wanted if objects.meter is not None}
    return tuple(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        for name, metadata in meters.items()
        if name not in used and is_controlled_by(metadata, uid)
    )


def failure_of(error: RefusedError | ForbiddenError, objects: Objects) -> ApplyFailure:
    """What a refused apply means for the status. Quota and admission may change their mind; validation does not."""
    is_final = isinstance(error, RefusedError)
    reason = "ApplyRefused" if is_final else "ApplyForbidden"
    return ApplyFailure(reason, str(error), is_final, objects.intent_hash)


def in_the_way(obstacle: Obstacle, objects: Objects) -> ApplyFailure:
    """What an obstacle means for the status. It is never adopted, whatever its name."""
    if obstacle.is_left_behind:
        message = (
            f"{obstacle.name} belongs to a deleted resource of this name; as soon as the garbage collector has removed "
            "it this one takes its place"
        )
        return ApplyFailure(AWAITING_DELETION, message, is_final=False, intent_hash=objects.intent_hash)
    message = f"{obstacle.name} exists and belongs to somebody else; delete or rename it, or rename this resource"
    return ApplyFailure(OWNERSHIP_CONFLICT, message, is_final=True, intent_hash=objects.intent_hash)
