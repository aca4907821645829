"""`berth agent`: hold Items for a worker in any language."""

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from berth.cli.errors import UsageError
from berth.cli.options import LogFormat, LogLevel, PodKubeconfig, cluster_option, configure_logging, option
from berth.member import NameTaken, SettingsError
from berth.member.agent import run_agent

worker_option = partial(option, panel="The worker (one of these)")
member_option = partial(option, panel="The Member")


def agent_command(
    http: Annotated[
        str | None, worker_option("Send PUT and DELETE to URL/items/NAME.", metavar="URL")
    ] = None,
    command: Annotated[
        str | None, worker_option("Run CMD EVENT NAME for each change.", "--exec", metavar="CMD")
    ] = None,
    file: Annotated[Path | None, worker_option("Write the Items to PATH as JSON.", metavar="PATH")] = None,
    pool: Annotated[str | None, member_option("Its Pool. Default: BERTH_POOL, or `default`.")] = None,
    name: Annotated[
        str | None, member_option("Its name. Default: BERTH_NAME, BERTH_POD_NAME, or the host name.")
    ] = None,
    limit: Annotated[int | None, member_option("Maximum number of Items. Default: BERTH_LIMIT.")] = None,
    zone: Annotated[str | None, member_option("Its zone. Default: BERTH_ZONE, or none.")] = None,
    lease_seconds: Annotated[float | None, member_option("Duration of its Lease. Default: 15.")] = None,
    drain_seconds: Annotated[float | None, member_option("Maximum duration of a drain. Default: 25.")] = None,
    wait: Annotated[bool, member_option("Wait while another process has the name.", "--wait")] = False,
    kubeconfig: PodKubeconfig = None,
    namespace: Annotated[
        str | None, cluster_option("Namespace. Default: BERTH_NAMESPACE, or as kubectl.", "--namespace", "-n")
    ] = None,
    interval: Annotated[
        float, option("Seconds between GET /items (--http), or reads of the file (--file).", min=0.1)
    ] = 2.0,
    timeout: Annotated[float, option("Maximum seconds of a request or command.", min=0.1)] = 60.0,
    settle: Annotated[
        float, option("With --file: seconds that a reader of the file has to release an Item.", min=0.0)
    ] = 1.0,
    health_port: Annotated[
        int | None, option("Serve /healthz and /readyz on this port.", min=0, max=65535)
    ] = None,
    log_format: LogFormat = "text",
    log_level: LogLevel = "info",
) -> None:
    """Hold Items for a worker in any language.

    It runs until SIGTERM. docs/agent.md describes the protocols.
    """
    # `run_agent` takes all options but those of the log, by the same names.
    options = {key: value for key, value in locals().items() if not key.startswith("log_")}
    configure_logging(log_format, log_level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        raise typer.Exit(asyncio.run(run_agent(**options)))
    except (SettingsError, NameTaken) as error:
        raise UsageError(str(error)) from error
