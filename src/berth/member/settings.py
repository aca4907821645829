"""The settings of a session: from arguments, the environment, or defaults."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from berth.kinds import is_name
from berth.kinds.member import MAX_LIMIT
from berth.kube import OwnerReference


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
    kubeconfig: Path | None
    """`BERTH_KUBECONFIG`, else as kubectl finds it, or the pod's service account."""
    lease_seconds: float
    """The duration of the Lease, at least 1 s. `BERTH_LEASE_SECONDS`, else 15."""
    drain_seconds: float
    """How long a drain may take before the session ends anyway. `BERTH_DRAIN_SECONDS`, else 25.
    Keep it below the pod's terminationGracePeriodSeconds."""
    block_seconds: float
    """How long the event loop may be blocked before the Lease is given up on purpose.
    `BERTH_BLOCK_SECONDS`, else two thirds of the Lease's duration."""
    owners: list[OwnerReference]
    """The pod of this process, if its name and uid are known (`BERTH_POD_NAME`, `BERTH_POD_UID`):
    Member and Lease are then owned by it and deleted with it."""
    readiness: Literal["Assumed", "Reported"] = "Reported"
    """When an Item counts as ready here: once `prepare` has returned (`Reported`), or at once (`Assumed`)."""
    concurrency: int = 64
    """How many `prepare` and `activate` run at a time; `deactivate` and `drop` never wait."""
    wait: bool = False
    """Whether to wait if another live process has the name, instead of raising `NameTaken`."""
    read_data: bool = True
    """Whether to read each Item for `Held.data` before `prepare`."""

    @classmethod
    def of(cls, options: Options, environ: Mapping[str, str] | None = None) -> "Settings":
        """Complete `options` from the environment and the defaults. Raises `SettingsError`."""
        env = os.environ if environ is None else environ
        given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}

        def pod(what: str) -> str:
            """A variable set from the downward API; many charts use the name without the prefix."""
            return env.get(f"BERTH_POD_{what}") or env.get(f"POD_{what}") or ""

        def text(option: str, default: str) -> str:
            return given.get(option) or env.get(f"BERTH_{option.upper()}") or default

        def number(option: str, default: float) -> float:
            variable = f"BERTH_{option.upper()}"
            value = given.get(option, env.get(variable, "").strip() or default)
            try:
                return float(value)
            except ValueError:
                raise SettingsError(f"{variable} is {value!r}: set it to a number") from None

        name = text("name", pod("NAME") or socket.gethostname().lower())
        if not is_name(name):
            raise SettingsError(
                f"{name!r} cannot be the name of a Member: give name=, or set BERTH_NAME or BERTH_POD_NAME, "
                "to lower-case letters, digits, '-' and '.'"
            )
        limit = number("limit", -1)
        if not 0 <= limit <= MAX_LIMIT:
            raise SettingsError(
                "give limit= or set BERTH_LIMIT to the maximum number of Items that this Member may hold, "
                f"0 to {MAX_LIMIT}"
            )
        lease = number("lease_seconds", 15.0)
        if not lease >= 1.0:  # nor NaN
            raise SettingsError(
                f"a Lease of {lease:g} s is too short: give 1 or more, the API server counts whole seconds"
            )
        kubeconfig = text("kubeconfig", "")
        named = pod("NAME"), pod("UID")
        return cls(
            pool=text("pool", "default"),
            name=name,
            namespace=text("namespace", pod("NAMESPACE")) or None,
            limit=int(limit),
            zone=given.get("zone", env.get("BERTH_ZONE", "")),
            kubeconfig=Path(kubeconfig) if kubeconfig else None,
            lease_seconds=lease,
            drain_seconds=number("drain_seconds", 25.0),
            block_seconds=number("block_seconds", lease * 2 / 3),
            owners=[OwnerReference("v1", "Pod", *named)] if all(named) else [],
            **{key: given[key] for key in ("readiness", "concurrency", "wait", "read_data") if key in given},
        )
