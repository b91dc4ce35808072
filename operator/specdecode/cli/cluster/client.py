"""The cluster as the person who asks may see it: reads, and patches of annotations. Whatever goes wrong becomes one
sentence with a way out; this is the only module of the folder that talks to anybody.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import typer

from specdecode.api.vocabulary import GROUP, KIND, PLURAL, SHORT_NAME, SINGULAR
from specdecode.api.words import plain
from specdecode.errors import ClusterError, ForbiddenError, NotFoundError, OperatorError, RefusedError, SettingsError

FAILED = 1
_MOST_CHARACTERS = 4000
"""Of what is told of an error."""
MANAGER = "kubectl-specdecode"
"""The field manager of the annotations that a person sets through this program."""
_IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TYPES = frozenset({SHORT_NAME, SINGULAR, PLURAL, f"{PLURAL}.{GROUP}", f"{SINGULAR}.{GROUP}", KIND.lower()})

Body = dict[str, Any]
T = TypeVar("T")


class AskedError(Exception):
    """What a person asked for cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Access:
    """Which cluster and namespace, as far as the options say."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None

    def location(self) -> str | None:
        """The kubeconfig, in kubectl's own order; None: the pod's own account."""
        if self.kubeconfig is not None:
            return str(self.kubeconfig)
        if os.environ.get("KUBECONFIG"):
            return os.environ["KUBECONFIG"]
        usual = Path("~/.kube/config").expanduser()
        has_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
        return None if has_pod and not usual.exists() else str(usual)


def name_of(text: str) -> str:
    """`chat`, of `chat`, `sdd/chat` or any other spelling of the type."""
    kind, slash, name = text.partition("/")
    if not slash:
        return text
    if kind.lower() not in _TYPES or not name:
        raise AskedError(f"{text!r} names no {KIND}: write NAME or {SHORT_NAME}/NAME")
    return name


def _namespace_of(access: Access, location: str | None) -> str:
    from specdecode.kube import namespace_of  # noqa: PLC0415 - offline commands start without it

    if access.namespace:
        return access.namespace
    if location is not None:
        return namespace_of(location, access.context)
    return _IN_CLUSTER_NAMESPACE.read_text(encoding="utf-8").strip() if _IN_CLUSTER_NAMESPACE.exists() else "default"


class Cluster:
    """One cluster and one namespace."""

    def __init__(self, kube: Any, namespace: str) -> None:
        self._kube = kube
        self.namespace = namespace

    async def all(self, *, everywhere: bool = False) -> list[Body]:
        """Every deployment of the namespace, or of the cluster."""
        namespace = None if everywhere else self.namespace
        try:
            return [body async for body in self._kube.list_resources(namespace)]
        except NotFoundError as error:
            raise _without_crd() from error
        except ForbiddenError as error:
            where = "in the whole cluster" if everywhere else f"in namespace {self.namespace}"
            hint = "; name a namespace with -n" if everywhere else ""
            raise AskedError(f"you may not list {PLURAL}.{GROUP} {where}: {error}{hint}") from error

    async def one(self, name: str) -> Body:
        """One deployment by its name."""
        from specdecode.kube import resource_path  # noqa: PLC0415 - offline commands start without it

        try:
            body: Body = await self._kube.get(resource_path(self.namespace, name))
        except NotFoundError as error:
            raise await self._not_found(name) from error
        except ForbiddenError as error:
            raise AskedError(f"you may not get {PLURAL}.{GROUP} in namespace {self.namespace}: {error}") from error
        return body

    async def find(self, name: str) -> Body | None:
        """One that may be absent; a cluster without the CRD has none that could be."""
        return next((body for body in await self.all() if body["metadata"]["name"] == name), None)

    def within(self, namespace: str) -> "Cluster":
        """The same cluster, another namespace."""
        return Cluster(self._kube, namespace)

    async def annotate(self, name: str, annotations: Mapping[str, str | None], *, is_dry_run: bool) -> Body:
        """Set or remove annotations of one deployment."""
        try:
            body: Body = await self._kube.annotate(
                self.namespace, name, annotations, manager=MANAGER, is_dry_run=is_dry_run
            )
        except NotFoundError as error:
            raise await self._not_found(name) from error
        except ForbiddenError as error:
            message = (
                f"you may read {name} but not change it: {error}; ask for the verb patch on {PLURAL}.{GROUP}, or let "
                f"somebody run it who has it. Nothing was changed"
            )
            raise AskedError(message) from error
        return body

    async def _not_found(self, name: str) -> AskedError:
        try:
            names = sorted(body["metadata"]["name"] for body in await self.all())
        except AskedError as error:
            return error
        where = f"there is no {KIND} {name!r} in namespace {self.namespace}"
        if not names:
            return AskedError(f"{where}, nor any other; name a namespace with -n, or look everywhere: status -A")
        near = get_close_matches(name, names, n=5, cutoff=0.4) or names[:5]
        return AskedError(f"{where}; there is: {', '.join(near)}. Another namespace: -n")


def _without_crd() -> AskedError:
    return AskedError(
        f"the cluster does not know {PLURAL}.{GROUP}: the CRD is not installed. Install it with the chart, or: "
        "specdecode crd | kubectl apply --server-side -f -"
    )


@asynccontextmanager
async def cluster(access: Access) -> AsyncIterator[Cluster]:
    """The cluster that is meant."""
    from specdecode.kube import connect  # noqa: PLC0415 - offline commands start without it

    location = access.location()
    async with connect(location, access.context) as kube:
        yield Cluster(kube, _namespace_of(access, location))


def _told(error: OperatorError) -> str:
    if isinstance(error, SettingsError):
        return str(error)
    if isinstance(error, ClusterError) and error.status == 401:
        return f"the API server does not know you: {error}; log in again, or name another --context"
    if isinstance(error, RefusedError):
        return f"the API server refuses it: {error}"
    if isinstance(error, ClusterError) and error.status:
        return f"the API server answers {error.status}: {error}; try again"
    return f"the cluster is out of reach: {error}; check the context and the network, or name another --context"


def asked(access: Access, question: Callable[[Cluster], Awaitable[T]], *, exit_code: int = FAILED) -> T:
    """The answer of the cluster, or one line on standard error and the end of the program. Never a traceback."""

    async def run() -> T:
        async with cluster(access) as found:
            return await question(found)

    try:
        return asyncio.run(run())
    except (AskedError, OperatorError) as error:
        said = str(error) if isinstance(error, AskedError) else _told(error)
        typer.echo(f"error: {plain(said, _MOST_CHARACTERS)}", err=True)
        raise typer.Exit(exit_code) from None
