"""`specdecode run`: the operator itself."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from specdecode.errors import SettingsError
from specdecode.settings import LogFormat, Settings
from specdecode.telemetry import set_up_logging

START_FAILED = 3
"""Exit code when the operator cannot start as configured."""


def run(
    prometheus_url: Annotated[str | None, typer.Option(help="Where the engines' metrics are.")] = None,
    namespace: Annotated[
        list[str] | None, typer.Option(help="Namespace to look after; repeatable. Omitted: the whole cluster.")
    ] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="Cluster to talk to. Omitted: the pod's own.")] = None,
    scrape_interval: Annotated[float | None, typer.Option(help="Seconds between scrapes of the engines.")] = None,
    evaluation_interval: Annotated[float | None, typer.Option(help="Seconds between two judgements.")] = None,
    listen_address: Annotated[str | None, typer.Option(help="Where /metrics, /healthz and /readyz are served.")] = None,
    listen_port: Annotated[int | None, typer.Option(help="Their port; 0 takes a free one.")] = None,
    log_format: Annotated[LogFormat | None, typer.Option(help="text or json.")] = None,
    leader_election: Annotated[
        bool | None, typer.Option("--leader-election/--no-leader-election", help="Agree with replicas by a Lease.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(help="Parts of the resources; as many replicas work at once. The same for all.")
    ] = None,
    lease_namespace: Annotated[str | None, typer.Option(help="Namespace of the Lease. Omitted: the pod's own.")] = None,
    pod_monitor: Annotated[bool | None, typer.Option(help="Also apply a PodMonitor per deployment.")] = None,
    hub: Annotated[
        bool | None, typer.Option("--hub/--no-hub", help="Look up unknown models on the model hub. Off by default.")
    ] = None,
    models_directory: Annotated[
        Path | None, typer.Option(help="Look up unknown models in this directory, the engines' /models.")
    ] = None,
) -> None:
    """Run the operator. Every option can also be set as SPECDECODE_<OPTION> in the environment."""
    # Only this command needs the clients of the cluster; the offline ones start without them.
    from specdecode.loop import run as run_operator  # noqa: PLC0415 - see above

    options: dict[str, Any] = {
        "prometheus_url": prometheus_url,
        "namespaces": tuple(namespace) if namespace else None,
        "kubeconfig": kubeconfig,
        "scrape_interval_seconds": scrape_interval,
        "evaluation_interval_seconds": evaluation_interval,
        "listen_address": listen_address,
        "listen_port": listen_port,
        "log_format": log_format,
        "leader_election": leader_election,
        "shards": shards,
        "lease_namespace": lease_namespace,
        "pod_monitor": pod_monitor,
        "hub": hub,
        "models_directory": models_directory,
    }
    try:
        settings = Settings(**{name: value for name, value in options.items() if value is not None})
        set_up_logging(settings.log_format)
        asyncio.run(run_operator(settings))
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            field = ".".join(str(part) for part in problem["loc"])
            # A URL that is none may still have a password in it.
            found = "" if "url" in field else f" is {problem['input']!r}"
            sys.stderr.write(f"error: {field}{found}: {problem['msg']}\n")
        raise typer.Exit(START_FAILED) from None
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(START_FAILED) from None
