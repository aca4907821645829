"""Talks to the Kubernetes API server: client, informer, leases and leader election."""

from berth.kube.backoff import Backoff
from berth.kube.client import Client, Deadline
from berth.kube.config import Access, Config, load_config
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
from berth.kube.meta import HasMeta, Key, Meta, OwnerReference
from berth.kube.resource import CONFIG_MAPS, LEASES, Resource

__all__ = [
    "CONFIG_MAPS",
    "LEASES",
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
    "EventKind",
    "Forbidden",
    "Gone",
    "HasMeta",
    "Informer",
    "Invalid",
    "Key",
    "Meta",
    "NotFound",
    "OwnerReference",
    "RequestTimeout",
    "Resource",
    "ServerError",
    "TooManyRequests",
    "Unauthorized",
    "load_config",
]
