"""How one operator process runs: from the environment (`SPECDECODE_*`), overridden by options of `specdecode run`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0, le=3600)]


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class Settings(BaseSettings):
    """Settings of the process. Secrets are file paths, never values."""

    model_config = SettingsConfigDict(
        env_prefix="SPECDECODE_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    prometheus_url: HttpUrl = HttpUrl("http://prometheus-operated.monitoring.svc:9090")
    """Where the engines' metrics are."""
    prometheus_token_file: Path | None = None
    """File with a bearer token, read again for every tick so that it may rotate."""
    prometheus_ca_file: Path | None = None
    """CA bundle for the Prometheus URL; the system's when omitted."""
    prometheus_username: str = ""
    """User for basic authentication; empty: none. A token and a user exclude each other."""
    prometheus_password_file: Path | None = None
    """File with that user's password, read again for every tick."""
    prometheus_client_certificate_file: Path | None = None
    """Client certificate for the Prometheus URL, PEM, with its key in the file below."""
    prometheus_client_key_file: Path | None = None
    """Key of the client certificate, PEM."""
    scrape_interval_seconds: Seconds = 15
    """How often Prometheus scrapes the engines. Windows and staleness follow from it."""
    evaluation_interval_seconds: Seconds = 15
    """How often all deployments are judged."""
    resync_interval_seconds: Seconds = 300
    """How often the watch is compared with a list of its own."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to look after; empty: the whole cluster."""
    kubeconfig: Path | None = None
    """Cluster to talk to; omitted: the pod's own."""
    listen_address: str = "0.0.0.0"  # noqa: S104 - a pod's port is meant to be reached
    """Where /metrics, /healthz and /readyz are served."""
    listen_port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """Port of /metrics, /healthz and /readyz; 0 takes a free one."""
    leader_election: bool = False
    """Whether replicas agree by a Lease on the one that works. Needed as soon as more than one runs."""
    lease_name: str = "specdecode-operator"
    """Name of that Lease."""
    shards: Annotated[int, Field(ge=1, le=64)] = 1
    """Parts that the resources are split into, so that as many replicas can work at once, each on its own; 1: one works
    and the others wait. Every replica must be told the same number. Needs leader election."""
    lease_namespace: str = ""
    """Its namespace; empty: the operator's own."""
    identity: str = ""
    """What this process is called in the Lease; empty: its host name, which is a pod's name."""
    pod_monitor: bool = False
    """Also apply a PodMonitor per deployment (needs the Prometheus operator's CRDs)."""
    hub: bool = False
    """Whether models that neither the spec nor the catalogue knows may be looked up on the model hub."""
    models_directory: Path | None = None
    """Directory with checkpoints, as the engines see it below /models: such models are looked up there first."""
    max_steps_per_namespace: Annotated[int, Field(ge=1, le=1000)] = 5
    """Steps down that the deployments of one namespace may take within ten minutes; more wait."""
    log_format: LogFormat = LogFormat.TEXT
    """text or json."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Resources that are reconciled at the same time."""
