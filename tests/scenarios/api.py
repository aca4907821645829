"""A small client of the API server that shares no code with Berth's own."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import urllib3

Object = dict[str, Any]
BERTH = "/apis/berth.dev/v1alpha1/namespaces/{}/{}"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"


class Refused(Exception):  # noqa: N818 - what the API server did
    """The API server did not do it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status


class Api:
    """Requests of one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        config = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=config)
        self.namespace = namespace
        self._host = config.host
        self._headers = {}
        if token := config.api_key.get("authorization"):
            self._headers["Authorization"] = token
        self._pool = urllib3.PoolManager(
            maxsize=32,
            cert_file=config.cert_file,
            key_file=config.key_file,
            ca_certs=config.ssl_ca_cert,
            retries=False,
        )

    def close(self) -> None:
        self._pool.clear()

    def path(self, kind: str, name: str = "", sub: str = "") -> str:
        base = LEASES.format(self.namespace) if kind == "leases" else BERTH.format(self.namespace, kind)
        return "/".join(filter(None, [base, name, sub]))

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Object:
        for _ in range(30):
            answer = self._pool.request(
                method,
                self._host + path,
                body=None if body is None else json.dumps(body),
                headers={**self._headers, "Content-Type": content},
                timeout=30.0,
            )
            if answer.status != 429:
                break
            time.sleep(1.0)
        if answer.status >= 400:
            raise Refused(answer.status, answer.data.decode())
        result: Object = json.loads(answer.data)
        return result

    def list(self, kind: str) -> list[Object]:
        return list(self.request("GET", self.path(kind))["items"])

    def get(self, kind: str, name: str) -> Object:
        return self.request("GET", self.path(kind, name))

    def create(self, kind: str, name: str, spec: Object, **metadata: Any) -> Object:
        version, title = "berth.dev/v1alpha1", kind.capitalize().removesuffix("s")
        if kind == "leases":
            version = "coordination.k8s.io/v1"
        body = {
            "apiVersion": version,
            "kind": title,
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        return self.request("POST", self.path(kind), body)

    def merge(self, kind: str, name: str, body: Object, sub: str = "") -> Object:
        return self.request("PATCH", self.path(kind, name, sub), body, "application/merge-patch+json")

    def patch(self, kind: str, name: str, body: list[Object], sub: str = "") -> Object:
        return self.request("PATCH", self.path(kind, name, sub), body, "application/json-patch+json")

    def delete(self, kind: str, name: str) -> None:
        with contextlib.suppress(Refused):
            self.request("DELETE", self.path(kind, name))

    def watch(self, kind: str) -> Watch:
        return Watch(self, kind)

    def open(self, path: str) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            "GET", self._host + path, headers=self._headers, preload_content=False, timeout=3600.0
        )


class Watch:
    """Follows a collection in a thread: `store` is what is there, `on_event(type, object)` is called."""

    def __init__(self, api: Api, kind: str) -> None:
        self._api = api
        self._kind = kind
        self._stopped = threading.Event()
        self._response: urllib3.BaseHTTPResponse | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch-{kind}", daemon=True)
        self.on_event: Callable[[str, Object], None] = lambda *_: None
        self.store: dict[str, Object] = {}

    def start(self) -> None:
        listed = self._api.request("GET", self._api.path(self._kind))
        for each in listed["items"]:
            self.store[each["metadata"]["name"]] = each
            self.on_event("ADDED", each)
        self._version = listed["metadata"]["resourceVersion"]
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._response is not None:
            with contextlib.suppress(Exception):
                self._response.shutdown()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                path = self._api.path(self._kind)
                self._response = self._api.open(f"{path}?watch=1&resourceVersion={self._version}")
                buffer = b""
                for chunk in self._response.stream(65536, decode_content=False):
                    buffer += chunk
                    *lines, buffer = buffer.split(b"\n")
                    for line in lines:
                        self._see(json.loads(line))
            except Exception:
                if not self._stopped.is_set():
                    time.sleep(0.1)

    def _see(self, event: Object) -> None:
        each = event["object"]
        self._version = each["metadata"]["resourceVersion"]
        name = each["metadata"]["name"]
        if event["type"] == "DELETED":
            self.store.pop(name, None)
        else:
            self.store[name] = each
        self.on_event(event["type"], each)
