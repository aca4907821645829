"""`berth agent`: hold Items for a worker in any language."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

_WORKER = "The worker (one of these)"
_MEMBER = "The Member"
_CLUSTER = "Cluster"


def agent_command(
    http: Annotated[
        str | None,
        typer.Option(metavar="URL", help="PUT and DELETE URL/items/NAME.", rich_help_panel=_WORKER),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option("--exec", metavar="CMD", help="Run CMD EVENT NAME.", rich_help_panel=_WORKER),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Keep PATH up to date.", rich_help_panel=_WORKER)
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="Default: BERTH_POOL, else `default`.", rich_help_panel=_MEMBER)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Default: BERTH_NAME, BERTH_POD_NAME, else the host.", rich_help_panel=_MEMBER),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Most Items it may hold; or BERTH_LIMIT.", rich_help_panel=_MEMBER)
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="Default: BERTH_ZONE, else none.", rich_help_panel=_MEMBER)
    ] = None,
    lease_seconds: Annotated[
        float | None, typer.Option(help="The Lease's duration. Default: 15.", rich_help_panel=_MEMBER)
    ] = None,
    drain_seconds: Annotated[
        float | None, typer.Option(help="How long a drain may take. Default: 25.", rich_help_panel=_MEMBER)
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait where the name is taken.", rich_help_panel=_MEMBER)
    ] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Default: as kubectl does, or the pod's.", rich_help_panel=_CLUSTER),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", help="Default: BERTH_NAMESPACE, else as kubectl.", rich_help_panel=_CLUSTER
        ),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds between GET /items (--http), or looks at the file (--file)."),
    ] = 2.0,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a request or command may take.")
    ] = 60.0,
    settle: Annotated[
        float, typer.Option(min=0.0, help="--file: seconds that a reader gets to let go of an Item.")
    ] = 1.0,
    health_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve /healthz and /readyz at this port.")
    ] = None,
    log_format: Annotated[str, typer.Option(help="`text` (key=value) or `json`.")] = "text",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Hold Items for a worker in any language, until SIGTERM; see docs/agent.md for the protocols."""
    from berth.cli.errors import UsageError, usage_errors
    from berth.cli.logs import configure_logging
    from berth.member import NameTaken, SettingsError
    from berth.member.agent import run_agent

    with usage_errors():
        configure_logging(log_format, log_level)
        logging.getLogger("asyncio").setLevel(logging.WARNING)
        try:
            code = asyncio.run(
                run_agent(
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
            )
        except (SettingsError, NameTaken) as error:
            raise UsageError(str(error)) from error
    raise typer.Exit(code)
