"""Access to the Kubernetes API server: client, informer, Leases and leader election."""

from berth.kinds.meta import HasMeta, Key, Meta, OwnerReference
from berth.kube.client import Client, Deadline
from berth.kube.config import Access, Config, load_config
from berth.kube.decode import Bad, Decoder
from berth.kube.errors import (
    ApiError,
    Backoff,
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
    not_understood,
)  # fmt: skip
from berth.kube.informer import Informer
from berth.kube.keeper import LeaseKeeper
from berth.kube.lease import LeaseClaim
from berth.kube.lease_loop import LeaseHeld
from berth.kube.loop_thread import LoopThread
from berth.kube.resource import ASSIGNMENTS, EVENTS, ITEMS, LEASES, MEMBERS, POOLS, Resource
from berth.kube.timing import Timing, lease_clock

__all__ = [
    "ASSIGNMENTS", "EVENTS", "ITEMS", "LEASES", "MEMBERS", "POOLS", "Access", "ApiError", "Backoff", "Bad",
    "Client", "Config", "ConfigError", "Conflict", "ConnectionLost", "Deadline", "DeadlinePassed", "Decoder",
    "Forbidden", "Gone", "HasMeta", "Informer", "Invalid", "Key", "LeaseClaim", "LeaseHeld", "LeaseKeeper",
    "LoopThread", "Meta", "NotFound", "OwnerReference", "RequestTimeout", "Resource", "ServerError", "Timing",
    "TooManyRequests", "Unauthorized", "lease_clock", "load_config", "not_understood",
]  # fmt: skip
