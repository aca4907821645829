"""`berth controller`: the operator."""

import asyncio
import gc
import logging
from pathlib import Path
from typing import Annotated, Any

from berth.cli.options import PORT, Context, LogFormat, LogLevel, PodKubeconfig, configure_logging, option
from berth.controller import Options, serve
from berth.kube import load_config
from berth.solve import Tuning
from berth.solve.engine import ENGINE


def controller_command(
    kubeconfig: PodKubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        list[str] | None, option("Manage only this namespace; repeatable. Default: all.")
    ] = None,
    lease_duration: Annotated[
        float, option("Seconds after which another replica takes over from a dead leader.", min=1.0)
    ] = 15.0,
    lease_namespace: Annotated[
        str | None,
        option(
            "Namespace of the leader's Lease. Default: the first --namespace, the pod's, or `default`.",
            envvar="BERTH_LEASE_NAMESPACE",
        ),
    ] = None,
    metrics_port: Annotated[int | None, option("Serve Prometheus metrics on this port.", **PORT)] = None,
    liveness_port: Annotated[int | None, option("Serve /healthz for probes on this port.", **PORT)] = None,
    problem_folder: Annotated[
        Path | None,
        option(
            "Folder for the last 10 problems whose plans were rejected, to be read by `berth plan -f`."
            " Default: `berth` in the folder for temporary files."
        ),
    ] = None,
    solver_engine: Annotated[
        str, option("For tests: the solver's thorough engine, module:function.", hidden=True)
    ] = ENGINE,
    solver_tuning: Annotated[
        list[str] | None,
        option("For tests: NAME=NUMBER of a threshold of the solver; repeatable.", hidden=True),
    ] = None,
    log_format: LogFormat = "text",
    log_level: LogLevel = "info",
) -> None:
    """Run the operator.

    The replicas elect a leader, which keeps Items placed; the others stand by.
    """
    configure_logging(log_format, log_level)
    config = load_config(kubeconfig, context)
    # Not the context's namespace: replicas that were started from two contexts must use one Lease.
    own = config.namespace if config.in_cluster else "default"
    options = Options(
        namespaces=tuple(namespace or ()),
        lease_namespace=lease_namespace or (namespace[0] if namespace else own),
        lease_duration=lease_duration,
        metrics_port=metrics_port,
        problem_folder=problem_folder,
        engine=solver_engine,
        tuning=_tuning(solver_tuning or []),
    )
    liveness = f"http://0.0.0.0:{liveness_port}/healthz" if liveness_port else None
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # A round over a large fleet makes hundreds of thousands of tuples, none of them in a cycle: at the
    # default of 700 new objects the collector takes two thirds of its time.
    gc.set_threshold(50_000, 20, 20)
    asyncio.run(serve(config, options, liveness))


def _tuning(settings: list[str]) -> Tuning:
    """The solver's thresholds, with these in place of the defaults."""
    pairs = (setting.split("=") for setting in settings)
    changed: dict[str, Any] = {name: type(getattr(Tuning(), name))(number) for name, number in pairs}
    return Tuning(**changed)
