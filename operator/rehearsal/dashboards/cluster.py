"""As much of an API server as a visit of the operator needs, in memory. Deployments roll out when somebody says so."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from specdecode.errors import NotFoundError
from specdecode.kube import path_of, resource_path
from specdecode.store import Store

Body = dict[str, Any]


class Cluster:
    """The objects by path; the watch is never behind. Has the methods of `Kube` that a reconcile calls."""

    def __init__(self, store: Store, on_rollout: Callable[[Body], None]) -> None:
        self.objects: dict[str, Body] = {}
        self.store = store
        self._on_rollout = on_rollout
        """Told of every Deployment whose pods are to be others than before."""
        self._version = 0

    def put(self, wanted: Mapping[str, Any]) -> None:
        """As if a person had applied a resource."""
        metadata = {"uid": f"uid-{wanted['metadata']['name']}", "generation": 1, **wanted["metadata"]}
        self._keep_resource({**wanted, "metadata": metadata})

    def _keep_resource(self, wanted: Body) -> None:
        live = self._stamped(wanted)
        metadata = live["metadata"]
        self.objects[resource_path(metadata["namespace"], metadata["name"])] = live
        self.store.take_resource(deepcopy(live), is_deleted=False)

    def _stamped(self, body: Body) -> Body:
        self._version += 1
        return {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._version)}}

    async def get(self, path: str) -> Body:
        """Raises NotFoundError."""
        found = await self.find(path)
        if found is None:
            raise NotFoundError(path, status=404)
        return found

    async def find(self, path: str) -> Body | None:
        """The object at a path, if there is one."""
        return deepcopy(self.objects.get(path))

    async def apply(self, wanted: Body) -> Body:
        """Server-side apply of whole objects."""
        path = path_of(wanted)
        old = self.objects.get(path)
        live = self._stamped({**wanted, "metadata": {"uid": path, "generation": 1, **wanted["metadata"]}})
        if wanted["kind"] == "Deployment":
            is_new = old is None or old["spec"]["template"] != wanted["spec"]["template"]
            live["status"] = old["status"] if old is not None and not is_new else self._counts(live, ready=0)
            self.objects[path] = live
            if is_new:
                self._on_rollout(live)
        self.objects[path] = live
        self._watched(live)
        return live

    def ready(self, path: str) -> None:
        """The pods of a Deployment answer."""
        live = self.objects[path]
        self.objects[path] = self._stamped({**live, "status": self._counts(live, ready=live["spec"]["replicas"])})
        self._watched(self.objects[path])

    @staticmethod
    def _counts(live: Body, *, ready: int) -> Body:
        wanted = live["spec"].get("replicas", 1)
        counts = {"replicas": wanted, "updatedReplicas": wanted, "readyReplicas": ready, "availableReplicas": ready}
        return {"observedGeneration": live["metadata"]["generation"], **counts}

    def _watched(self, live: Body, *, is_deleted: bool = False) -> None:
        puts = {"Service": self.store.put_service, "ConfigMap": self.store.put_config_map}
        puts.get(live["kind"], self.store.put_deployment)(deepcopy(live), is_deleted=is_deleted)

    async def apply_status(self, wanted: Body) -> Body:
        """Write the whole status of a resource."""
        metadata = wanted["metadata"]
        path = resource_path(metadata["namespace"], metadata["name"])
        self._keep_resource({**self.objects[path], "status": wanted["status"]})
        return self.objects[path]

    async def delete(self, live: Body) -> None:
        """Remove an object."""
        self._watched(self.objects.pop(path_of(live)), is_deleted=True)

    async def create_event(self, event: Body) -> None:
        """Events are for people, and nobody looks."""
