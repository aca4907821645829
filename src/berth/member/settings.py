"""The settings of a session: from arguments, the environment, or defaults."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from berth.kinds import is_name

MAX_LIMIT = 4096


class SettingsError(ValueError):
    """A setting is missing or invalid; the message says what to set."""


class Options(TypedDict, total=False):
    """The arguments of `serve` and `Session`; all are optional, `Settings` describes them."""

    pool: str | None
    name: str | None
    namespace: str | None
    limit: int | None
    zone: str | None
    kubeconfig: str | Path | None
    readiness: Literal["Assumed", "Reported"]
    lease_seconds: float | None
    drain_seconds: float | None
    block_seconds: float | None
    concurrency: int
    wait: bool
    read_data: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a session. An argument that is None is taken from its environment variable."""

    pool: str
    """The Pool whose Items it holds. `BERTH_POOL`, else `default`."""
    name: str
    """The Member's name. `BERTH_NAME`, `BERTH_POD_NAME`, else the host's name (in a pod, the pod's)."""
    namespace: str | None
    """`BERTH_NAMESPACE`, `BERTH_POD_NAMESPACE`, else that of the kubeconfig or the service account."""
    limit: int
    """The maximum number of Items that it may hold, 0 to 4096. `BERTH_LIMIT`; there is no default."""
    zone: str
    """`BERTH_ZONE`, else empty, a zone like any other."""
    kubeconfig: Path | None = None
    """`BERTH_KUBECONFIG`, else as kubectl finds it, or the pod's service account."""
    readiness: Literal["Assumed", "Reported"] = "Reported"
    """When an Item counts as ready here: once `prepare` has returned (`Reported`), or at once (`Assumed`)."""
    lease_seconds: float = 15.0
    """The duration of the Lease, at least 1 s. `BERTH_LEASE_SECONDS`."""
    drain_seconds: float = 25.0
    """How long a drain may take before the session ends anyway. `BERTH_DRAIN_SECONDS`.
    Keep it below the pod's terminationGracePeriodSeconds."""
    block_seconds: float = 10.0
    """How long the event loop may be blocked before the Lease is given up on purpose.
    `BERTH_BLOCK_SECONDS`, else two thirds of the Lease's duration."""
    concurrency: int = 64
    """How many `prepare` and `activate` run at a time; `deactivate` and `drop` never wait."""
    wait: bool = False
    """Whether to wait while another live session has the name, instead of raising `NameTaken`."""
    read_data: bool = True
    """Whether to read each Item for `Held.data` before `prepare`."""
    pod: tuple[str, str] | None = None
    """Name and uid of the pod of this process, if known (`BERTH_POD_NAME`, `BERTH_POD_UID`):
    Member and Lease are then owned by it and deleted with it."""

    @classmethod
    def of(cls, options: Options, environ: Mapping[str, str] | None = None) -> "Settings":
        """Complete `options` from the environment and the defaults. Raises `SettingsError`."""
        env = os.environ if environ is None else environ
        pod_name, pod_uid = _pod(env, "NAME"), _pod(env, "UID")
        name = options.get("name") or env.get("BERTH_NAME") or pod_name or socket.gethostname().lower()
        if not is_name(name):
            raise SettingsError(
                f"{name!r} cannot be the name of a Member: give name=, or set BERTH_NAME or BERTH_POD_NAME, "
                "to lower-case letters, digits, '-' and '.'"
            )
        limit = options.get("limit")
        if limit is None:
            limit = int(_number(env, "BERTH_LIMIT", -1))
        if not 0 <= limit <= MAX_LIMIT:
            raise SettingsError(
                "give limit= or set BERTH_LIMIT to the maximum number of Items that this Member may hold, "
                f"0 to {MAX_LIMIT}"
            )
        lease = _given(options.get("lease_seconds"), env, "BERTH_LEASE_SECONDS", 15.0)
        if lease < 1.0:
            raise SettingsError(
                f"a Lease of {lease:g} s is too short: give 1 or more, the API server counts whole seconds"
            )
        kubeconfig = options.get("kubeconfig") or env.get("BERTH_KUBECONFIG")
        return cls(
            pool=options.get("pool") or env.get("BERTH_POOL") or "default",
            name=name,
            namespace=options.get("namespace")
            or env.get("BERTH_NAMESPACE")
            or _pod(env, "NAMESPACE")
            or None,
            limit=limit,
            zone=_text(options.get("zone"), env, "BERTH_ZONE"),
            kubeconfig=Path(kubeconfig) if kubeconfig else None,
            readiness=options.get("readiness", "Reported"),
            lease_seconds=lease,
            drain_seconds=_given(options.get("drain_seconds"), env, "BERTH_DRAIN_SECONDS", 25.0),
            block_seconds=_given(options.get("block_seconds"), env, "BERTH_BLOCK_SECONDS", lease * 2 / 3),
            concurrency=options.get("concurrency", 64),
            wait=options.get("wait", False),
            read_data=options.get("read_data", True),
            pod=(pod_name, pod_uid) if pod_name and pod_uid else None,
        )


def _pod(env: Mapping[str, str], what: str) -> str:
    """A variable set from the downward API; many charts use the name without the prefix."""
    return env.get(f"BERTH_POD_{what}") or env.get(f"POD_{what}") or ""


def _text(value: str | None, env: Mapping[str, str], variable: str) -> str:
    return env.get(variable, "") if value is None else value


def _given(value: float | None, env: Mapping[str, str], variable: str, default: float) -> float:
    return _number(env, variable, default) if value is None else value


def _number(env: Mapping[str, str], variable: str, default: float) -> float:
    text = env.get(variable, "").strip()
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{variable} is {text!r}: set it to a number") from None
