"""The command lines of the servers: pure functions of paths and ports."""

import itertools
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from berth.testing.credentials import HOST, Credentials
from berth.testing.errors import ControlPlaneError

# Below the range that Linux gives to outgoing connections, so that none of them takes the API
# server's port while it is being restarted.
_RANGE = range(20000, 32768)

# Admission plug-ins that need a controller, a node or a volume, none of which exists here. Admission by
# policy and by webhook, and the life cycle of namespaces, stay enabled.
_DISABLED_ADMISSION = (
    "CertificateApproval,CertificateSigning,CertificateSubjectRestriction,ClusterTrustBundleAttest,"
    "DefaultIngressClass,DefaultStorageClass,DefaultTolerationSeconds,LimitRanger,PersistentVolumeClaimResize,"
    "PodSecurity,Priority,ResourceQuota,RuntimeClass,ServiceAccount,StorageObjectInUseProtection,"
    "TaintNodesByCondition"
)


@dataclass(frozen=True)
class Ports:
    """Loopback ports of one control plane."""

    etcd: int
    etcd_peer: int
    api: int


def choose_ports(api: int | None = None) -> Ports:
    """Three free ports; `api` sets the API server's. Another process may still take one before its use."""
    if api is not None and not _is_free(api):
        raise ControlPlaneError(f"port {api} on {HOST} is taken: choose another, or none for a free one")
    free = (port for port in random.sample(_RANGE, 500) if port != api and _is_free(port))
    ports = list(itertools.islice(free, 3))
    if len(ports) < 3:
        raise ControlPlaneError(f"no free ports on {HOST} between {_RANGE.start} and {_RANGE.stop - 1}")
    return Ports(etcd=ports[0], etcd_peer=ports[1], api=ports[2] if api is None else api)


def _is_free(port: int) -> bool:
    """Whether a loopback port is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT does not matter
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def etcd(data: Path, ports: Ports, credentials: Credentials) -> list[str]:
    """Arguments of an etcd with one member, without fsync: a power failure loses data, which is fine here."""
    client, peer = f"https://{HOST}:{ports.etcd}", f"https://{HOST}:{ports.etcd_peer}"
    pair, ca = credentials.etcd, credentials.authority
    return [
        "--name=default",
        f"--data-dir={data}",
        "--unsafe-no-fsync",
        # The default of 2 GiB is filled within minutes by a benchmark that rewrites large objects.
        f"--quota-backend-bytes={8 << 30}",
        "--log-level=warn",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        *(f"--{side}cert-file={pair.certificate}" for side in ("", "peer-")),
        *(f"--{side}key-file={pair.key}" for side in ("", "peer-")),
        *(f"--{side}trusted-ca-file={ca}" for side in ("", "peer-")),
        "--client-cert-auth",
        "--peer-client-cert-auth",
    ]


def kube_apiserver(ports: Ports, credentials: Credentials, extra: tuple[str, ...]) -> list[str]:
    """Arguments of the API server; a later flag in `extra` replaces an earlier one."""
    return [
        f"--etcd-servers=https://{HOST}:{ports.etcd}",
        f"--etcd-cafile={credentials.authority}",
        f"--etcd-certfile={credentials.api.certificate}",
        f"--etcd-keyfile={credentials.api.key}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={ports.api}",
        f"--tls-cert-file={credentials.api.certificate}",
        f"--tls-private-key-file={credentials.api.key}",
        f"--client-ca-file={credentials.authority}",
        "--authorization-mode=RBAC",
        f"--disable-admission-plugins={_DISABLED_ADMISSION}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={credentials.token_key}",
        f"--service-account-signing-key-file={credentials.token_key}",
        *extra,
    ]


def kube_controller_manager(kubeconfig: Path) -> list[str]:
    """Arguments of a controller manager with the garbage collector and the namespace controller only."""
    return [
        f"--kubeconfig={kubeconfig}",
        "--controllers=garbage-collector-controller,namespace-controller",
        "--leader-elect=false",
        "--use-service-account-credentials",  # each controller with its own rights, as in a cluster
        "--secure-port=0",
        "--profiling=false",
    ]
