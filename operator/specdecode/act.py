"""Server-side apply of the chosen mode's objects, and nothing else. Whole objects, one field manager."""

from specdecode.errors import ForbiddenError, RefusedError
from specdecode.kube import Body, Kube, path_of
from specdecode.manifests.build import Objects
from specdecode.observe.cluster import is_controlled_by
from specdecode.status import OWNERSHIP_CONFLICT, ApplyFailure


async def foreign_object(kube: Kube, objects: Objects, uid: str, *, live_deployment: Body | None) -> str | None:
    """Name of an object that stands where one of ours should and is not ours, if there is one.

    The Deployment was read by the caller.
    """
    for wanted in objects.all():
        metadata = wanted["metadata"]
        live = live_deployment if wanted["kind"] == "Deployment" else await kube.find(path_of(wanted))
        if live is not None and not is_controlled_by(live["metadata"], uid):
            return f"{wanted['kind']} {metadata['namespace']}/{metadata['name']}"
    return None


async def apply_objects(kube: Kube, objects: Objects, *, live_deployment: Body | None) -> None:
    """Apply all objects; the Deployment, as read by the caller, must not have changed since. Raises ClusterError."""
    for wanted in objects.all():
        body = dict(wanted)
        if wanted["kind"] == "Deployment" and live_deployment is not None:
            live = live_deployment["metadata"]
            body["metadata"] = {
                **wanted["metadata"],
                "uid": live["uid"],
                "resourceVersion": live["resourceVersion"],
            }
        await kube.apply(body)


def failure_of(error: RefusedError | ForbiddenError, objects: Objects) -> ApplyFailure:
    """What a refused apply means for the status. Quota and admission may change their mind; validation does not."""
    is_final = isinstance(error, RefusedError)
    reason = "ApplyRefused" if is_final else "ApplyForbidden"
    return ApplyFailure(reason, str(error), is_final, objects.intent_hash)


def ownership_conflict(name: str, objects: Objects) -> ApplyFailure:
    """An object that is not ours stands in the way; it is never adopted."""
    message = f"{name} exists and belongs to somebody else; delete or rename it, or rename this resource"
    return ApplyFailure(OWNERSHIP_CONFLICT, message, is_final=True, intent_hash=objects.intent_hash)
