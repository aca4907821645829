"""The address of the API server, and the credentials.

The official `kubernetes` package reads kubeconfig files, runs exec plug-ins and knows the in-cluster paths.
This module calls it again when a token is about to expire, when a token file may have been rotated,
and after a 401.
"""

# The `kubernetes` package has no types.
# mypy: disable-error-code="no-untyped-call"

import asyncio
import functools
import os
import ssl
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubernetes.client import Configuration
from kubernetes.config import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

from berth.kube.errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_FILE_PERIOD = 60.0  # seconds; a token stays valid far longer than this after its file was rotated
FORCED_PERIOD = 5.0  # seconds; a server that refuses everything must not have the exec plug-in run in a loop


@dataclass(frozen=True, slots=True)
class Access:
    """The address and the credentials for one request."""

    base_url: str
    headers: Mapping[str, str] = field(repr=False)  # a traceback must not show a token
    ssl: ssl.SSLContext
    server_hostname: str | None
    proxy: str | None
    namespace: str
    refresh_after: float | None
    """Seconds from loading until it should be loaded again; None for credentials that do not expire."""


class Config:
    """Access to one API server, kept fresh. Safe to share between threads and event loops."""

    def __init__(self, load: Callable[[], Access], *, in_cluster: bool = False) -> None:
        """`load` reads everything anew and may block (files, exec plug-ins).

        `in_cluster`: the credentials are those of the pod that this runs in.
        """
        self.in_cluster = in_cluster
        self._load = load
        self._lock = threading.Lock()
        self._access = load()
        self._loaded_at = time.monotonic()

    @property
    def base_url(self) -> str:
        """The API server's address, without a trailing slash."""
        return self._access.base_url

    @property
    def namespace(self) -> str:
        """The default namespace: the context's, or the pod's own; else `default`."""
        return self._access.namespace

    async def access(self) -> Access:
        """The access for the next request; reloads it first if that is due."""
        access = self._access
        if access.refresh_after is None or time.monotonic() - self._loaded_at < access.refresh_after:
            return access
        return await asyncio.to_thread(self._reload, access, 1.0)

    async def refresh(self, refused: Access) -> Access:
        """The access to use instead of `refused`, which the server answered with 401."""
        return await asyncio.to_thread(self._reload, refused, FORCED_PERIOD)

    def _reload(self, stale: Access, period: float) -> Access:
        with self._lock:
            if self._access is not stale or time.monotonic() - self._loaded_at < min(
                period, stale.refresh_after or period
            ):
                return self._access
            self._loaded_at = time.monotonic()
            try:
                self._access = self._load()
            except (ConfigError, OSError):
                if stale.refresh_after is None:
                    raise
                # A token file that is being rotated, or a plug-in that failed once: the old credentials may
                # still be good (a 401 would follow if not), so keep them and try again soon.
                self._loaded_at -= max(0.0, stale.refresh_after - FORCED_PERIOD)
            return self._access


def load_config(kubeconfig: Path | None = None, context: str | None = None) -> Config:
    """Find the API server and the credentials.

    In this order: `kubeconfig`, the files of `$KUBECONFIG`, the pod's service account, `~/.kube/config`.
    Raises ConfigError with one line that names the file and the cause.
    """
    if kubeconfig is not None and not Path(kubeconfig).is_file():
        raise ConfigError(f"kubeconfig {kubeconfig}: no such file")
    paths = kubeconfig or os.environ.get("KUBECONFIG")
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").is_file()
    if not paths and in_pod and context is None:
        return from_service_account(SERVICE_ACCOUNT, os.environ)
    if not paths and not (paths := Path("~/.kube/config").expanduser()).is_file():
        raise ConfigError(
            "no cluster is configured: give --kubeconfig FILE, set KUBECONFIG, "
            "or run in a pod with a service account"
        )
    return Config(functools.partial(_read_kubeconfig, str(paths), context))


def from_service_account(folder: Path, environ: Mapping[str, str]) -> Config:
    """Access with the service account that is mounted at `folder`."""
    return Config(functools.partial(_read_service_account, folder, environ), in_cluster=True)


def _read_service_account(folder: Path, environ: Mapping[str, str]) -> Access:
    loader = InClusterConfigLoader(
        token_filename=str(folder / "token"),
        cert_filename=str(folder / "ca.crt"),
        try_refresh_token=False,
        environ=environ,
    )
    try:
        settings = _loaded(loader)
    except ConfigException as error:
        raise ConfigError(f"service account {folder}: {error}") from None
    file = folder / "namespace"
    return _access(settings, file.read_text().strip() if file.is_file() else "", {}, TOKEN_FILE_PERIOD)


def _read_kubeconfig(paths: str, context: str | None) -> Access:
    """Access with kubeconfig files, joined by `:` as in `$KUBECONFIG`."""
    # The package writes inline certificates and keys to files, which are deleted when this function returns.
    with tempfile.TemporaryDirectory(prefix="berth-kube-") as scratch:
        try:
            merged = KubeConfigMerger(paths).config
            if merged is None:
                raise ConfigError(f"kubeconfig {paths}: no such file")
            loader = KubeConfigLoader(
                merged, active_context=context, config_base_path=None, temp_file_path=scratch
            )
            chosen = loader.current_context["context"]
            users = merged["users"] if merged.safe_get("users") else None
            entry = users.get_with_name(chosen.get("user"), safe=True) if users else None
            user: dict[str, Any] = (entry.value.get("user") if entry else None) or {}
            settings = _loaded(loader)
        except ConfigError:
            raise
        except ConfigException as error:
            raise ConfigError(f"kubeconfig {paths}: {error}") from None
        except Exception as error:  # the loader does not wrap YAML errors and wrong types
            raise ConfigError(f"kubeconfig {paths}: {type(error).__name__}: {error}") from error
        if "exec" in user and not settings.api_key and not settings.cert_file:
            command = user["exec"].get("command", "?")
            raise ConfigError(
                f"kubeconfig {paths}: the exec plug-in {command!r} gave no credentials (its error is logged)"
            )
        headers = {"Impersonate-User": str(user["as"])} if "as" in user else {}
        refresh_after = TOKEN_FILE_PERIOD if "tokenFile" in user and "token" not in user else None
        if (expiry := getattr(loader, "expiry", None)) is not None:
            # When four fifths of the credential's remaining lifetime have passed.
            refresh_after = max(1.0, 0.8 * (expiry - datetime.now(UTC)).total_seconds())
        return _access(settings, chosen.get("namespace"), headers, refresh_after)


def _loaded(loader: Any) -> Any:
    """What a loader of the package sets, and no more."""
    settings = Configuration()
    settings.proxy = None  # not that of the environment, which the package takes whatever NO_PROXY says
    loader.load_and_set(settings)
    # With the hook, the package would rerun a plug-in immediately if its token lives for less than 5 minutes.
    settings.refresh_api_key_hook = None
    return settings


def _access(
    settings: Any, namespace: str | None, headers: dict[str, str], refresh_after: float | None
) -> Access:
    for auth in settings.auth_settings().values():
        if auth["in"] == "header" and auth["value"]:
            headers[auth["key"].title()] = " ".join(str(auth["value"]).split())
    base_url = str(settings.host).rstrip("/")
    try:
        files = (settings.ssl_ca_cert, settings.cert_file, settings.key_file)
        context = _ssl_context(settings.verify_ssl, *map(_pem, files))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the CA or the client certificate cannot be used: {error}") from None
    return Access(
        base_url=base_url,
        headers=headers,
        ssl=context,
        server_hostname=settings.tls_server_name or None,
        proxy=settings.proxy or _environment_proxy(base_url),
        namespace=namespace or "default",
        refresh_after=refresh_after,
    )


def _pem(file: str | None) -> str:
    if not file:
        return ""
    text = Path(file).read_text("ascii", "ignore")  # bundles may have comments in any encoding
    if "-----BEGIN" not in text:
        raise ValueError(f"{file} is not in PEM format")
    return text


@functools.lru_cache(maxsize=8)
def _ssl_context(verify: bool, authority: str, certificate: str, key: str) -> ssl.SSLContext:
    """The context for these PEM texts: the same for the same texts, so that connections are kept."""
    context = ssl.create_default_context(cadata=authority or None)
    if certificate:
        with tempfile.NamedTemporaryFile("w", prefix="berth-kube-") as pair:
            pair.write(f"{certificate}\n{key}")
            pair.flush()
            context.load_cert_chain(pair.name)
    # Python 3.13 is strict by default, but the CAs of kubeadm and of many clouds lack a key identifier.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _environment_proxy(base_url: str) -> str | None:
    """The proxy that the environment sets, unless NO_PROXY exempts the API server."""
    address = urlsplit(base_url)
    if urllib.request.proxy_bypass(address.netloc):
        return None
    return urllib.request.getproxies().get(address.scheme)
