"""The command lines of the servers: pure functions of paths and ports."""

from dataclasses import dataclass
from pathlib import Path

from berth.testing.certificates import Authority, KeyPair

HOST = "127.0.0.1"

# Admission that needs a controller, a node or a volume: nothing of that exists here. Admission by
# policy, by webhook and the life cycle of namespaces stay on.
_NEEDLESS_ADMISSION = (
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "ClusterTrustBundleAttest",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "DefaultTolerationSeconds",
    "LimitRanger",
    "PersistentVolumeClaimResize",
    "PodSecurity",
    "Priority",
    "ResourceQuota",
    "RuntimeClass",
    "ServiceAccount",
    "StorageObjectInUseProtection",
    "TaintNodesByCondition",
)


@dataclass(frozen=True)
class Ports:
    """Loopback ports of one control plane."""

    etcd: int
    etcd_peer: int
    api: int


@dataclass(frozen=True)
class Credentials:
    """What the servers and the administrator prove themselves with."""

    authority: Path
    etcd: KeyPair
    api: KeyPair
    administrator: KeyPair
    controller_manager: KeyPair
    token_key: Path


def issue(folder: Path) -> Credentials:
    """Make a certificate authority in `folder` and everything that it signs."""
    authority = Authority(folder)
    return Credentials(
        authority=authority.certificate,
        etcd=authority.server("etcd"),
        api=authority.server("kube-apiserver"),
        administrator=authority.client("administrator", "berth-testing-admin", "system:masters"),
        controller_manager=authority.client("controller-manager", "system:kube-controller-manager"),
        token_key=authority.signing_key("service-accounts"),
    )


def etcd(binary: Path, data: Path, ports: Ports, credentials: Credentials) -> list[str]:
    """Arguments of an etcd of one member that forgets on a power cut, which is no loss here."""
    client, peer = f"https://{HOST}:{ports.etcd}", f"https://{HOST}:{ports.etcd_peer}"
    pair, ca = credentials.etcd, credentials.authority
    return [
        str(binary),
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


def kube_apiserver(binary: Path, ports: Ports, credentials: Credentials, extra: tuple[str, ...]) -> list[str]:
    """Arguments of the API server; a later flag in `extra` replaces an earlier one."""
    return [
        str(binary),
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
        f"--disable-admission-plugins={','.join(_NEEDLESS_ADMISSION)}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={credentials.token_key}",
        f"--service-account-signing-key-file={credentials.token_key}",
        "--profiling=false",
        *extra,
    ]


def kube_controller_manager(binary: Path, kubeconfig: Path) -> list[str]:
    """Arguments of a controller manager that collects garbage and finishes deleted namespaces, no more."""
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        "--controllers=garbage-collector-controller,namespace-controller",
        "--leader-elect=false",
        "--use-service-account-credentials",  # each controller with its own rights, as in a cluster
        "--secure-port=0",
        "--profiling=false",
    ]
