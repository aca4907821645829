"""Certificates, keys and kubeconfig files of one control plane; they exist as long as its folder."""

import base64
import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from berth.testing.errors import ControlPlaneError

HOST = "127.0.0.1"
_HOSTS = (HOST, "::1", "localhost", "kubernetes.default.svc")
_NAME = "berth-testing"
_LIFETIME = dt.timedelta(days=7)
_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class KeyPair:
    """The files of a certificate and its private key, both PEM."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that writes everything it issues into `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._key = _new_key()
        self._subject = _subject(f"{_NAME}-ca")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        extensions = (constraints, _SIGNS_CERTIFICATES, identifier)
        self.certificate = self._certify("ca", self._subject, self._key, *extensions)

    def issue(self, name: str, user: str, group: str | None = None, hosts: Sequence[str] = ()) -> KeyPair:
        """Issue a certificate, for a client and, where it names `hosts`, a server.

        Kubernetes reads a client's user from its CN and the group from its O.
        """
        key = _new_key()
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        extensions: list[x509.ExtensionType] = [
            x509.BasicConstraints(ca=False, path_length=None),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
            x509.ExtendedKeyUsage(usages),
        ]
        if hosts:
            extensions.append(x509.SubjectAlternativeName([_general_name(host) for host in hosts]))
        certificate = self._certify(name, _subject(user, group), key, *extensions)
        return KeyPair(certificate, self._write_key(name, key))

    def signing_key(self, name: str) -> Path:
        """Write a private key without a certificate (for ServiceAccount tokens)."""
        return self._write_key(name, _new_key())

    def _certify(
        self, name: str, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> Path:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            # An hour ago, so that a clock that is set back during the tests does no harm.
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + _LIFETIME)
        )
        for extension in extensions:
            critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self._key, hashes.SHA256())
        return self._write(f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> Path:
        # client-go cannot read a public key from PKCS8, so the format is the traditional one.
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return self._write(f"{name}.key", pem)

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path


class Credentials:
    """The certificates and keys of the servers and of their clients, which are issued into `folder`."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        self.authority = authority.certificate
        self.etcd = authority.issue("etcd", "etcd", hosts=_HOSTS)
        self.api = authority.issue("kube-apiserver", "kube-apiserver", hosts=_HOSTS)
        self.administrator = authority.issue("administrator", "berth-testing-admin", "system:masters")
        self.controller_manager = authority.issue("controller-manager", "system:kube-controller-manager")
        self.token_key = authority.signing_key("service-accounts")


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _subject(common: str, organization: str | None = None) -> x509.Name:
    names = {NameOID.ORGANIZATION_NAME: organization, NameOID.COMMON_NAME: common}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items() if value])


def write_kubeconfig(path: Path, url: str, authority: Path, user: KeyPair | str, namespace: str) -> None:
    """Write a kubeconfig that only its owner can read; `user` is a client certificate or a bearer token."""
    if isinstance(user, str):
        credentials = {"token": user}
    else:
        pair = {"client-certificate-data": user.certificate, "client-key-data": user.key}
        credentials = {name: _encoded(file) for name, file in pair.items()}
    cluster = {"server": url, "certificate-authority-data": _encoded(authority)}
    context = {"cluster": _NAME, "user": _NAME, "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": _NAME,
        "clusters": [{"name": _NAME, "cluster": cluster}],
        "users": [{"name": _NAME, "user": credentials}],
        "contexts": [{"name": _NAME, "context": context}],
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            yaml.safe_dump(document, file, sort_keys=False)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ControlPlaneError(f"the kubeconfig {path} cannot be written: {error.strerror}") from error


def check_kubeconfig(path: Path) -> None:
    """Refuse to replace a kubeconfig of another cluster, such as ~/.kube/config."""
    if not path.parent.is_dir():
        raise ControlPlaneError(f"the kubeconfig {path} cannot be written: no folder {path.parent}")
    try:
        content = path.read_text() if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ControlPlaneError(f"the kubeconfig {path} cannot be written: {error}") from error
    if content.strip() and f"current-context: {_NAME}" not in content:
        raise ControlPlaneError(
            f"{path} has other content and would be removed at the end: name a file that does not exist"
        )


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
