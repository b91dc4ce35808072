"""etcd and the Kubernetes components as processes: the cluster without its nodes.

Everything listens on 127.0.0.1 with ports of its own, so that several planes can run side by side. RBAC, client
certificates, service account tokens, garbage collection and scheduling are real. The truth about who wrote what is the
API server's audit log. Nodes, pods and images are not its business: `node` runs the pods.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from rehearsal.binaries import Binaries
from rehearsal.binaries.ways import Say
from rehearsal.certificates import Authority, KeyPair, signing_key, write_kubeconfig, write_private
from rehearsal.processes import Process, ProcessError, free_ports, run

_START_SECONDS = 60.0
_POLL_SECONDS = 0.1
_ATTEMPTS = 3
# A graceful end may take kube-apiserver a minute, and etcd without fsync has nothing worth waiting for.
_GRACE_SECONDS = 2.0
_TOKEN_HOURS = 720

# Left out, and why: nobody renews the leases of our nodes; endpoints refuse the loopback addresses of our pods; there
# is no network to plan and nothing to attach.
_WITHOUT_CONTROLLERS = (
    "node-lifecycle-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "node-ipam-controller",
    "persistentvolume-attach-detach-controller",
)

# A fresh node shall not carry a not-ready taint that only the node lifecycle controller removes.
_WITHOUT_ADMISSION = ("TaintNodesByCondition",)

READS_AUDITED = ("install-system", "least-privilege", "least-privilege-cluster")
"""Namespaces whose service accounts have their reads in the audit log, too: what they use can be compared with what
they may."""

_AUDIT_POLICY = f"""\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: [{", ".join(f"system:serviceaccounts:{namespace}" for namespace in READS_AUDITED)}]
- level: None
  verbs: [get, list, watch]
- level: Metadata
"""


class ControlPlane:
    """`async with ControlPlane(binaries, directory, say) as plane`: a running control plane, gone afterwards.

    `directory` keeps keys, logs, data and the audit log; removing it is the caller's business.
    """

    def __init__(self, binaries: Binaries, directory: Path, say: Say) -> None:
        self.binaries = binaries
        self.directory = directory.absolute()
        self.kubeconfig = self.directory / "admin.kubeconfig"
        self.ca_file = self.directory / "pki" / "ca.crt"
        self.audit_log = self.directory / "audit.log"
        self.server = ""
        """`https://127.0.0.1:<port>`, known once the plane runs."""
        self._say = say
        self._authority = Authority()
        self._admin = self._authority.client("rehearsal-admin", "system:masters")
        self._processes: dict[str, Process] = {}

    @property
    def processes(self) -> Mapping[str, Process]:
        """The components by name: etcd, kube-apiserver, kube-controller-manager, kube-scheduler."""
        return self._processes

    async def __aenter__(self) -> Self:
        started = time.monotonic()
        try:
            self._write_keys()
            await self._start_api()
            await self._start_controllers()
        except BaseException:
            await self._stop()
            raise
        self._say(f"control plane: ready at {self.server} after {time.monotonic() - started:.1f} s")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def wait_ready(self, timeout_seconds: float = _START_SECONDS) -> None:
        """Wait until the API server says it is ready.

        Raises:
            ProcessError: a component it needs ended, or the time is over; with the last lines of the log.
        """
        credentials = ssl.create_default_context(cafile=self.ca_file)
        credentials.load_cert_chain(self._pki("admin.crt"), self._pki("admin.key"))
        async with httpx.AsyncClient(verify=credentials, trust_env=False, timeout=2.0) as client:
            try:
                async with asyncio.timeout(timeout_seconds):
                    while not await self._is_ready(client):
                        self._check_alive()
                        await asyncio.sleep(_POLL_SECONDS)
            except TimeoutError:
                tail = self._processes["kube-apiserver"].log_tail(5)
                raise ProcessError(f"kube-apiserver is not ready after {timeout_seconds:.0f} s:\n{tail}") from None

    async def kubectl(
        self,
        *arguments: str | Path,
        stdin: str | None = None,
        check: bool = True,
        kubeconfig: Path | None = None,
        timeout_seconds: float = 60.0,
    ) -> str:
        """Run kubectl, as the administrator unless a kubeconfig is given, and return what it printed.

        With `check` a failure raises ProcessError with kubectl's own words; without it they are returned as well.
        """
        answer = await run(
            [self.binaries.kubectl, "--kubeconfig", kubeconfig or self.kubeconfig, *arguments],
            stdin=stdin,
            environment=self._environment(),
            timeout_seconds=timeout_seconds,
        )
        if check and answer.returncode:
            raise ProcessError(f"kubectl {' '.join(map(str, arguments))}: {answer.errors.strip()}")
        return answer.output if check else answer.output + answer.errors

    async def apply(self, manifests: str | Path, *, kubeconfig: Path | None = None) -> str:
        """Server-side apply of YAML text or of a file or folder, as the field manager `rehearsal`."""
        source = manifests if isinstance(manifests, Path) else "-"
        text = manifests if isinstance(manifests, str) else None
        flags = ("--server-side", "--field-manager=rehearsal")
        return await self.kubectl("apply", *flags, "-f", source, stdin=text, kubeconfig=kubeconfig)

    async def established(self, *, timeout_seconds: float = 30.0) -> None:
        """Wait until every CRD there is is served."""
        end = time.monotonic() + timeout_seconds
        # For one that was made this moment and has no conditions yet kubectl refuses to wait.
        while True:
            last = time.monotonic() >= end
            flags = ("--for=condition=Established", "crd", "--all", "--timeout=5s")
            answer = await self.kubectl("wait", *flags, check=last)
            if "condition met" in answer and "error" not in answer:
                return
            await asyncio.sleep(0.2)

    async def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig with a token of an existing service account, valid for thirty days."""
        token = await self.kubectl(
            "create", "token", service_account, f"--namespace={namespace}", f"--duration={_TOKEN_HOURS}h"
        )
        return write_kubeconfig(
            self.directory / f"{namespace}.{service_account}.kubeconfig",
            server=self.server,
            ca=self._authority.certificate,
            credentials=token.strip(),
            namespace=namespace,
        )

    def _write_keys(self) -> None:
        names = ["kubernetes.default.svc", "kubernetes.default", "localhost"]
        pairs = {"server": self._authority.server(names, ["127.0.0.1"]), "admin": self._admin}
        for name, pair in pairs.items():
            write_private(self._pki(f"{name}.crt"), pair.certificate)
            write_private(self._pki(f"{name}.key"), pair.key)
        write_private(self.ca_file, self._authority.certificate)
        write_private(self._pki("service-accounts.key"), signing_key())
        write_private(self._pki("audit-policy.yaml"), _AUDIT_POLICY)

    async def _start_api(self) -> None:
        """Start etcd and kube-apiserver together, again with other ports if somebody took one meanwhile."""
        for attempt in range(1, _ATTEMPTS + 1):
            etcd_port, peer_port, api_port = free_ports(3)
            self.server = f"https://127.0.0.1:{api_port}"
            self._write_kubeconfig(self.kubeconfig, self._admin)
            try:
                await self._start("etcd", self.binaries.etcd, self._etcd_flags(etcd_port, peer_port))
                await self._start(
                    "kube-apiserver", self.binaries.kube_apiserver, self._api_server_flags(api_port, etcd_port)
                )
                await self.wait_ready()
            except ProcessError:
                if attempt == _ATTEMPTS or not self._port_was_taken():
                    raise
                self._say("control plane: a port was taken by another program; trying others")
                await self._stop()
            else:
                return

    async def _start_controllers(self) -> None:
        components = (
            ("kube-controller-manager", self.binaries.kube_controller_manager, self._controller_flags()),
            ("kube-scheduler", self.binaries.kube_scheduler, ()),
        )
        for name, program, flags in components:
            kubeconfig = self._pki(f"{name}.kubeconfig")
            self._write_kubeconfig(kubeconfig, self._authority.client(f"system:{name}"))
            # Without serving a port two planes cannot collide; health is judged by what the component does.
            common = (f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0")
            await self._start(name, program, (*common, *flags))
        await self._wait_for_controllers()

    async def _wait_for_controllers(self) -> None:
        """The first visible work of the controller manager is a service account in the default namespace."""
        query = ("get", "serviceaccounts", "--namespace=default", "--output=name")
        try:
            async with asyncio.timeout(_START_SECONDS):
                while "default" not in await self.kubectl(*query):
                    self._check_alive()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            tail = self._processes["kube-controller-manager"].log_tail(5)
            raise ProcessError(f"no controller has worked after {_START_SECONDS:.0f} s:\n{tail}") from None

    async def _start(self, name: str, program: Path, flags: tuple[str, ...]) -> None:
        log = self.directory / "logs" / f"{name}.log"
        process = Process(name, [program, *flags], log=log, environment=self._environment(), directory=self.directory)
        self._processes[name] = process
        await process.start()

    async def _stop(self) -> None:
        """Clients first, storage last; every component is ended even if the wait for another is cut short."""
        processes = list(self._processes.values())[::-1]
        try:
            for process in processes:
                await process.stop(_GRACE_SECONDS)
        finally:
            for process in processes:
                process.kill()

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        with suppress(httpx.HTTPError):
            return (await client.get(f"{self.server}/readyz")).is_success
        return False

    def _check_alive(self) -> None:
        for process in self._processes.values():
            if not process.is_running:
                raise ProcessError(f"{process.name} ended with {process.returncode}:\n{process.log_tail(5)}")

    def _port_was_taken(self) -> bool:
        return any("address already in use" in process.log_tail(100) for process in self._processes.values())

    def _environment(self) -> dict[str, str]:
        """Nothing of the user's: no proxy, no kubeconfig, no cache in the home directory."""
        return {"HOME": str(self.directory), "PATH": "/usr/local/bin:/usr/bin:/bin"}

    def _pki(self, name: str) -> Path:
        return self.directory / "pki" / name

    def _write_kubeconfig(self, path: Path, credentials: KeyPair) -> None:
        write_kubeconfig(path, server=self.server, ca=self._authority.certificate, credentials=credentials)

    def _etcd_flags(self, client_port: int, peer_port: int) -> tuple[str, ...]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (client_port, peer_port))
        return (
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def _api_server_flags(self, port: int, etcd_port: int) -> tuple[str, ...]:
        return (
            f"--etcd-servers=http://127.0.0.1:{etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            # The address of this server cannot become an endpoint of the service `kubernetes`: it is a loopback one.
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={self._pki('server.crt')}",
            f"--tls-private-key-file={self._pki('server.key')}",
            f"--client-ca-file={self.ca_file}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._pki('service-accounts.key')}",
            f"--service-account-signing-key-file={self._pki('service-accounts.key')}",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--disable-admission-plugins={','.join(_WITHOUT_ADMISSION)}",
            "--allow-privileged=true",
            f"--audit-policy-file={self._pki('audit-policy.yaml')}",
            f"--audit-log-path={self.audit_log}",
        )

    def _controller_flags(self) -> tuple[str, ...]:
        return (
            f"--controllers=*,{','.join(f'-{name}' for name in _WITHOUT_CONTROLLERS)}",
            # Each controller writes under its own name, which the audit log then shows.
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self._pki('service-accounts.key')}",
            f"--root-ca-file={self.ca_file}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        )
