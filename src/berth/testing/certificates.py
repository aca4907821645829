"""The certificate authority of one control plane; it exists as long as its folder."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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
        self._subject = _subject("berth-testing-ca")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self._certify("ca", self._subject, self._key, constraints, _SIGNS_CERTIFICATES)

    def server(self, name: str) -> KeyPair:
        """Issue a certificate that a server on the loopback address and its own clients may use."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        hosts = [x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc")]
        addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
        names = x509.SubjectAlternativeName([*hosts, *addresses])
        return self._issue(name, _subject(name), usage, names)

    def client(self, name: str, user: str, group: str | None = None) -> KeyPair:
        """Issue a client certificate; Kubernetes reads the user from its CN and the group from its O."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._issue(name, _subject(user, group), usage)

    def signing_key(self, name: str) -> Path:
        """Write a private key without a certificate (for ServiceAccount tokens)."""
        return self._write_key(name, _new_key())

    def _issue(self, name: str, subject: x509.Name, *extensions: x509.ExtensionType) -> KeyPair:
        key = _new_key()
        constraints = x509.BasicConstraints(ca=False, path_length=None)
        return KeyPair(
            self._certify(name, subject, key, constraints, *extensions), self._write_key(name, key)
        )

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


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _subject(common: str, organization: str | None = None) -> x509.Name:
    names = {NameOID.ORGANIZATION_NAME: organization, NameOID.COMMON_NAME: common}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items() if value])
