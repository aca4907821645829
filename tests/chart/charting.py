"""Helm, a cluster to install into, and controllers that run as a Deployment says."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from berth.testing import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "berth"
SYSTEM = "berth-system"
EVERYTHING: dict[str, Any] = {
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "networkPolicy": {"enabled": True},
    "flowSchema": {"enabled": True},
    "workers": {"bindings": [{"namespace": "feeds", "serviceAccount": "feeds", "create": True}]},
}
"""Values that switch everything on."""


@dataclass(frozen=True)
class Helm:
    """Helm with a home of its own."""

    binary: Path
    home: Path
    kubeconfig: Path | None = None

    def __call__(self, *args: str, values: dict[str, Any] | None = None, check: bool = True) -> str:
        """Run it; standard output (with `check` off, standard error after it)."""
        argv = [str(self.binary), *args]
        if values is not None:
            argv += ["--values", "-"]
        environment = {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig or self.home / "none"),
        }
        done = subprocess.run(
            argv,
            input=None if values is None else yaml.safe_dump(values),
            stdin=subprocess.DEVNULL if values is None else None,
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"helm {' '.join(args)}: {done.stderr}{done.stdout}"
            return done.stdout
        return f"{done.stdout}{done.stderr}"

    def template(self, values: dict[str, Any] | None = None, *args: str) -> list[dict[str, Any]]:
        """The objects that the chart renders with `values`, hooks included."""
        text = self("template", "berth", str(CHART), "--namespace", SYSTEM, *args, values=values or {})
        return [document for document in yaml.safe_load_all(text) if document]


@dataclass
class Cluster:
    """The control plane, its audit log, and processes that run as ServiceAccounts."""

    plane: ControlPlane
    audit: Path
    stack: ExitStack
    logs: Path
    tokens: dict[str, Path] = field(default_factory=dict)

    def get(self, *args: str) -> Any:
        """`kubectl get ... -o json`."""
        return json.loads(self.plane.kubectl("get", *args, "-o", "json"))

    def apply(self, *objects: dict[str, Any] | str, namespace: str = "default") -> None:
        texts = [o if isinstance(o, str) else yaml.safe_dump(o) for o in objects]
        self.plane.kubectl("apply", "-n", namespace, "-f", "-", input="---\n".join(texts))

    def requests(self, user: str) -> list[dict[str, Any]]:
        """What a ServiceAccount (`namespace:name`) has asked the API server for, from the audit log."""
        name = f"system:serviceaccount:{user}"
        events = [json.loads(line) for line in self.audit.read_text().splitlines() if line.endswith("}")]
        return [event for event in events if event["user"]["username"] == name]

    def forbidden(self, user: str) -> list[tuple[str, str]]:
        """(verb, path) of each request that was refused with 403."""
        return [
            (event["verb"], event["requestURI"])
            for event in self.requests(user)
            if event["responseStatus"]["code"] == 403
        ]

    def request(self, token: str, method: str, path: str, body: Any = None) -> int:
        """The status code that a request with this token is answered with."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            self.plane.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": kind},
        )
        context = ssl.create_default_context(cafile=str(self.plane.ca_file))
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def pod(self, name: str, namespace: str, spec: dict[str, Any]) -> None:
        """Create a pod that nothing runs: what a token can be bound to."""
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.apply(body, namespace=namespace)

    def kubeconfig(self, namespace: str, service_account: str, pod: str | None = None) -> Path:
        """Credentials as a pod has them."""
        token = self.plane.token(namespace, service_account, bound_object=("Pod", pod) if pod else None)
        return self.plane.kubeconfig_for(token, namespace)


def wait_for(what: str, done: Callable[[], Any], seconds: float = 60.0, every: float = 0.05) -> Any:
    """Poll until `done()` is true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := done()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(every)
    return value


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Process:
    """A running `berth controller`."""

    popen: subprocess.Popen[bytes]
    kubeconfig: Path
    log: Path
    metrics_port: int
    health_port: int

    def text(self) -> str:
        return self.log.read_text()

    def url(self, path: str) -> tuple[int, str]:
        """Status and body of a path of the metrics port; status 0 where nothing answers."""
        return fetch(f"http://127.0.0.1:{self.metrics_port}{path}")

    def health(self) -> int:
        return fetch(f"http://127.0.0.1:{self.health_port}/healthz")[0]

    def leading(self) -> bool:
        return "berth_leading 1.0" in self.url("/metrics")[1]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(30)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


@contextmanager
def controller(
    cluster: Cluster, deployment: dict[str, Any], pod: str, namespace: str = SYSTEM
) -> Iterator[Process]:
    """Run what the Deployment's container runs, with a token of its ServiceAccount bound to a pod of it."""
    spec = deployment["spec"]["template"]["spec"]
    [container] = spec["containers"]
    cluster.pod(pod, namespace, spec)
    environment = {
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.defpath}",
        "KUBECONFIG": str(cluster.kubeconfig(namespace, spec["serviceAccountName"], pod)),
        "HOME": "/nonexistent",
    }
    for variable in container["env"]:
        source = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        environment[variable["name"]] = namespace if source == "metadata.namespace" else variable["value"]
    argv = [*container["command"], *container["args"]]
    for name, value in environment.items():
        argv = [word.replace(f"$({name})", value) for word in argv]
    # The pod has an address of its own, this machine has not: each process gets free ports.
    ports = {"--metrics-port": free_port(), "--liveness-port": free_port()}
    argv = [f"{flag}={ports[flag]}" if (flag := word.split("=")[0]) in ports else word for word in argv]
    log = cluster.logs / f"{pod}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(argv, stdout=output, stderr=output, env=environment, cwd="/")
    process = Process(
        popen, Path(environment["KUBECONFIG"]), log, ports["--metrics-port"], ports["--liveness-port"]
    )
    try:
        yield process
    finally:
        process.stop()
        with suppress(subprocess.CalledProcessError):
            cluster.plane.kubectl("delete", "pod", pod, "-n", namespace, "--grace-period=0", "--force")
