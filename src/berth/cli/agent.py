"""`berth agent`: hold Items for a worker in any language."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from berth.cli.errors import UsageError
from berth.cli.logs import LogFormat, LogLevel, configure_logging
from berth.member import NameTaken, SettingsError
from berth.member.agent import run_agent

_WORKER = "The worker (one of these)"
_MEMBER = "The Member"
_CLUSTER = "Cluster"


def agent_command(
    http: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Send PUT and DELETE requests to URL/items/NAME.", rich_help_panel=_WORKER
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--exec", metavar="CMD", help="Run CMD EVENT NAME for each change.", rich_help_panel=_WORKER
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write the Items to PATH as JSON.", rich_help_panel=_WORKER),
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="Its Pool. Default: BERTH_POOL, or `default`.", rich_help_panel=_MEMBER)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Its name. Default: BERTH_NAME, BERTH_POD_NAME, or the host name.", rich_help_panel=_MEMBER
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Maximum number of Items. Default: BERTH_LIMIT.", rich_help_panel=_MEMBER),
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="Its zone. Default: BERTH_ZONE, or none.", rich_help_panel=_MEMBER)
    ] = None,
    lease_seconds: Annotated[
        float | None, typer.Option(help="Duration of its Lease. Default: 15.", rich_help_panel=_MEMBER)
    ] = None,
    drain_seconds: Annotated[
        float | None, typer.Option(help="Maximum duration of a drain. Default: 25.", rich_help_panel=_MEMBER)
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait while another process has the name.", rich_help_panel=_MEMBER),
    ] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            help="Kubeconfig of the cluster. Default: the pod's service account, or as kubectl.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace. Default: BERTH_NAMESPACE, or as kubectl.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds between GET /items (--http), or reads of the file (--file)."),
    ] = 2.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="Maximum seconds of a request or command.")] = 60.0,
    settle: Annotated[
        float,
        typer.Option(min=0.0, help="With --file: seconds that a reader of the file has to release an Item."),
    ] = 1.0,
    health_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve /healthz and /readyz on this port.")
    ] = None,
    log_format: LogFormat = "text",
    log_level: LogLevel = "info",
) -> None:
    """Hold Items for a worker in any language.

    It runs until SIGTERM. docs/agent.md describes the protocols.
    """
    configure_logging(log_format, log_level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    agent = run_agent(
        http=http,
        command=command,
        file=file,
        interval=interval,
        timeout=timeout,
        settle=settle,
        health_port=health_port,
        pool=pool,
        name=name,
        limit=limit,
        zone=zone,
        lease_seconds=lease_seconds,
        drain_seconds=drain_seconds,
        wait=wait,
        kubeconfig=kubeconfig,
        namespace=namespace,
    )
    try:
        raise typer.Exit(asyncio.run(agent))
    except (SettingsError, NameTaken) as error:
        raise UsageError(str(error)) from error
