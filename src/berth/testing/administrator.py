"""The few requests of an administrator that starting and cleaning up need."""

import contextlib
import http.client
import json
import ssl
from typing import Any

from berth.testing.errors import ControlPlaneError
from berth.testing.servers import HOST, Credentials


class Administrator:
    """A client with the administrator's certificate and one connection for each request."""

    def __init__(self, port: int, credentials: Credentials) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(credentials.authority))
        pair = credentials.administrator
        self._context.load_cert_chain(pair.certificate, pair.key)

    def status(self, method: str, path: str, body: object = None) -> int | None:
        """The status of the answer; None without one within 5 seconds."""
        try:
            return self._send(method, path, body, 5.0)[0]
        except (OSError, http.client.HTTPException):
            return None

    def request(
        self, method: str, path: str, body: object = None, *, missing_ok: bool = False
    ) -> dict[str, Any]:
        """The decoded answer; empty for a 404 if `missing_ok`. Raises ControlPlaneError."""
        try:
            status, text = self._send(method, path, body, 30.0)
        except (OSError, http.client.HTTPException) as error:
            raise ControlPlaneError(f"{method} {path}: {error}") from error
        if status == 404 and missing_ok:
            return {}
        document: dict[str, Any] = json.loads(text)
        if status >= 300:
            raise ControlPlaneError(f"{method} {path}: {status} {document.get('message')}")
        return document

    def create(self, path: str, version: str, kind: str, name: str) -> None:
        """Create an object that has only a name."""
        self.request("POST", path, {"apiVersion": version, "kind": kind, "metadata": {"name": name}})

    def _send(self, method: str, path: str, body: object, timeout: float) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(HOST, self._port, timeout=timeout, context=self._context)
        with contextlib.closing(connection):
            payload = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            return response.status, response.read()
