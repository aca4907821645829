"""The few requests of an administrator that starting, preparing and cleaning up need."""

import contextlib
import http.client
import json
import ssl
import time
import uuid
from typing import Any

from berth.testing.credentials import HOST, Credentials
from berth.testing.errors import ControlPlaneError

BERTH = "/apis/berth.dev/v1alpha1"
_POLICY_SECONDS = 60.0


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

    def wait_until_fenced(self) -> None:
        """Wait until an Assignment with an old term is refused and one with the current term is accepted.

        A policy is in force some seconds after it was applied, and no condition reports it. So dry-run writes
        are tried with a Pool that exists during this call.
        """
        name = f"probe-{uuid.uuid4().hex[:8]}"
        pools = f"{BERTH}/namespaces/default/pools"
        self.request("POST", pools, _object("Pool", name))
        try:
            deadline = time.monotonic() + _POLICY_SECONDS
            while not self._fenced(f"{pools}/{name}", name):
                if time.monotonic() > deadline:
                    raise ControlPlaneError(f"Berth's policy was not in force after {_POLICY_SECONDS:.0f} s")
                time.sleep(0.1)
        finally:
            self.request("DELETE", f"{pools}/{name}")

    def _fenced(self, path: str, name: str) -> bool:
        """Whether a term below that of the Pool is refused, and its own is not.

        A running controller may lead this Pool, too, and raise its term.
        """
        pool = self.request("GET", path)
        term = pool.get("status", {}).get("term", 0)
        if term < 2:
            self.status("PUT", f"{path}/status", pool | {"status": {"term": 2}})
            return False
        dry_run = f"{BERTH}/namespaces/default/assignments?dryRun=All"
        specs = [{"pool": name, "term": each, "items": []} for each in (term - 1, term)]
        answers = [self.status("POST", dry_run, _object("Assignment", name, **spec)) for spec in specs]
        return answers == [403, 201]

    def _send(self, method: str, path: str, body: object, timeout: float) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(HOST, self._port, timeout=timeout, context=self._context)
        with contextlib.closing(connection):
            payload = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            return response.status, response.read()


def _object(kind: str, name: str, **spec: object) -> dict[str, object]:
    return {"apiVersion": "berth.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
