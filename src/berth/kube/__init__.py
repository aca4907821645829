"""Access to the Kubernetes API server: client, informer, Leases and leader election."""

from berth.kinds.meta import HasMeta, Key, Meta, OwnerReference
from berth.kube.backoff import Backoff
from berth.kube.client import Client, Deadline
from berth.kube.config import Access, Config, load_config
from berth.kube.election import Election
from berth.kube.errors import (
    ApiError,
    ConfigError,
    Conflict,
    ConnectionLost,
    DeadlinePassed,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    RequestTimeout,
    ServerError,
    TooManyRequests,
    Unauthorized,
)
from berth.kube.informer import EventKind, Informer
from berth.kube.keeper import LeaseKeeper
from berth.kube.lease_loop import LeaseHeld
from berth.kube.resource import ASSIGNMENTS, EVENTS, ITEMS, LEASES, MEMBERS, POOLS, Resource
from berth.kube.timing import Timing, lease_clock

__all__ = [
    "ASSIGNMENTS",
    "EVENTS",
    "ITEMS",
    "LEASES",
    "MEMBERS",
    "POOLS",
    "Access",
    "ApiError",
    "Backoff",
    "Client",
    "Config",
    "ConfigError",
    "Conflict",
    "ConnectionLost",
    "Deadline",
    "DeadlinePassed",
    "Election",
    "EventKind",
    "Forbidden",
    "Gone",
    "HasMeta",
    "Informer",
    "Invalid",
    "Key",
    "LeaseHeld",
    "LeaseKeeper",
    "Meta",
    "NotFound",
    "OwnerReference",
    "RequestTimeout",
    "Resource",
    "ServerError",
    "Timing",
    "TooManyRequests",
    "Unauthorized",
    "lease_clock",
    "load_config",
]
