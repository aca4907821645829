"""Loopback ports for the servers."""

import random
import socket

from berth.testing.errors import ControlPlaneError
from berth.testing.servers import HOST, Ports

# Below the range that Linux gives to outgoing connections, so that none of them takes the API
# server's port while it is being restarted.
_RANGE = range(20000, 32768)


def choose(api: int | None = None) -> Ports:
    """Three free ports; `api` fixes the API server's. Whoever is faster may still take one."""
    if api is not None and not is_free(api):
        raise ControlPlaneError(f"port {api} on {HOST} is taken: choose another, or none for a free one")
    free: list[int] = []
    for port in random.sample(_RANGE, 500):
        if port != api and is_free(port):
            free.append(port)
        if len(free) == 3:
            return Ports(etcd=free[0], etcd_peer=free[1], api=api if api is not None else free[2])
    raise ControlPlaneError(f"no free ports on {HOST} between {_RANGE.start} and {_RANGE.stop - 1}")


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is no obstacle to a server
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True
