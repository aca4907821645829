import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from berth.testing.credentials import Credentials


def strict(purpose: ssl.Purpose, credentials: Credentials) -> ssl.SSLContext:
    """A context as Python 3.13 makes it by default."""
    context = ssl.create_default_context(purpose, cafile=str(credentials.authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_server_and_client_accept_each_other_by_the_strict_rules_of_newer_pythons(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    server = strict(ssl.Purpose.CLIENT_AUTH, credentials)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(credentials.api.certificate, credentials.api.key)
    client = strict(ssl.Purpose.SERVER_AUTH, credentials)
    client.load_cert_chain(credentials.administrator.certificate, credentials.administrator.key)
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor() as pool:
        accepting = pool.submit(server.wrap_socket, theirs, server_side=True)
        with client.wrap_socket(ours, server_hostname="127.0.0.1"), accepting.result(10) as accepted:
            certificate = accepted.getpeercert()
    assert certificate is not None
    assert certificate["subject"] == (
        (("organizationName", "system:masters"),),
        (("commonName", "berth-testing-admin"),),
    )
