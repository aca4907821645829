import asyncio
import base64
import json
import os
import ssl
import stat
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from berth.kube import Access, Client, Config, ConfigError, load_config
from berth.kube.config import from_service_account
from berth.testing import ControlPlane


@pytest.fixture(autouse=True)
def no_cluster_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def pair(name: str) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), pem


def kubeconfig(
    path: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None, namespace: str | None = None
) -> Path:
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    other = {"cluster": "c", "user": "u", "namespace": "elsewhere"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": "http://api.test:8080/"} | (cluster or {})}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": context}, {"name": "other", "context": other}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


async def access(config: Config) -> Access:
    return await config.access()


async def header(config: Config) -> str:
    return (await config.access()).headers["Authorization"]


async def test_a_token_an_address_and_the_contexts_namespace(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "k", {"token": "abc"}, namespace="mine")
    config = load_config(path)
    assert (config.base_url, config.namespace) == ("http://api.test:8080", "mine")
    assert await header(config) == "Bearer abc"
    assert load_config(path, "other").namespace == "elsewhere"
    assert load_config(kubeconfig(tmp_path / "k2", {})).namespace == "default"


async def test_impersonation_and_basic_authentication_are_sent(tmp_path: Path) -> None:
    config = load_config(kubeconfig(tmp_path / "k", {"token": "abc", "as": "jane"}))
    assert (await config.access()).headers["Impersonate-User"] == "jane"
    config = load_config(kubeconfig(tmp_path / "k", {"username": "a", "password": "b"}))
    assert await header(config) == "Basic YTpi"


async def test_a_token_file_is_read_again_every_minute(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    config = load_config(kubeconfig(tmp_path / "k", {"tokenFile": "token"}))
    assert await header(config) == "Bearer first"
    (tmp_path / "token").write_text("second\n")
    assert await header(config) == "Bearer first"
    config._loaded_at -= 61.0
    assert await header(config) == "Bearer second"
    # In the middle of a rotation the old one stays, and the file is looked at again within seconds.
    (tmp_path / "token").unlink()
    config._loaded_at -= 61.0
    assert await header(config) == "Bearer second"
    (tmp_path / "token").write_text("third\n")
    config._loaded_at -= 6.0
    assert await header(config) == "Bearer third"


PLUGIN = """#!{python}
import json, pathlib, datetime
count = pathlib.Path({count!r})
n = int(count.read_text() or 0) + 1 if count.exists() else 1
count.write_text(str(n))
status = {{"token": f"token-{{n}}"}}
life = {life}
if life:
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=life)
    status["expirationTimestamp"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
print(json.dumps(
    {{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""


def plugin(tmp_path: Path, life: int) -> dict[str, Any]:
    script = tmp_path / "plugin"
    script.write_text(PLUGIN.format(python=sys.executable, count=str(tmp_path / "count"), life=life))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script)}
    return {"exec": command | {"interactiveMode": "Never"}}


async def test_an_exec_plug_in_runs_again_when_its_token_nears_its_end(tmp_path: Path) -> None:
    config = load_config(kubeconfig(tmp_path / "k", plugin(tmp_path, life=100)))
    assert [await header(config) for _ in range(3)] == ["Bearer token-1"] * 3
    config._loaded_at -= 60.0
    assert await header(config) == "Bearer token-1"
    config._loaded_at -= 30.0
    # One runs the plug-in; the other need not wait, what we have is still good.
    both = await asyncio.gather(header(config), header(config))
    assert both[0] == "Bearer token-2"
    assert await header(config) == "Bearer token-2"
    assert (tmp_path / "count").read_text() == "2"


async def test_an_exec_plug_in_without_an_end_runs_again_only_after_a_401(tmp_path: Path, api: Any) -> None:
    path = kubeconfig(tmp_path / "k", plugin(tmp_path, life=0), {"server": api.url})
    config = load_config(path)
    config._loaded_at -= 1e6
    api.script("get", api.status(401, "Unauthorized"))
    async with Client(config) as client:
        await client.get("/api/v1/namespaces/ns/configmaps/x")
    sent = [seen.headers["Authorization"] for seen in api.seen]
    assert sent == ["Bearer token-1", "Bearer token-2"]


async def test_an_exec_plug_in_that_fails_is_named(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/no/such/plugin"}}
    with pytest.raises(ConfigError, match="exec plug-in '/no/such/plugin' gave no credentials"):
        load_config(kubeconfig(tmp_path / "k", user))


async def test_client_certificates_are_used_and_no_key_stays_behind_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    certificate, key = pair("me")
    user = {"client-certificate-data": encode(certificate), "client-key-data": encode(key)}
    cluster = {"server": "https://api.test", "certificate-authority-data": encode(certificate)}
    config = load_config(kubeconfig(tmp_path / "k", user, cluster | {"tls-server-name": "inner"}))
    got = await config.access()
    assert got.ssl.verify_mode is ssl.CERT_REQUIRED
    assert len(got.ssl.get_ca_certs()) == 1
    assert got.server_hostname == "inner"
    assert list((tmp_path / "scratch").iterdir()) == []
    assert "PRIVATE" not in repr(got)
    # Loaded again, unchanged: the same context, so that connections stay open. Changed: another.
    config._loaded_at -= 60.0
    assert (await config.refresh(got)).ssl is got.ssl
    other, other_key = pair("me")
    user = {"client-certificate-data": encode(other), "client-key-data": encode(other_key)}
    kubeconfig(tmp_path / "k", user, cluster)
    config._loaded_at -= 60.0
    assert (await config.refresh(await config.access())).ssl is not got.ssl


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_verification_can_be_switched_off_for_a_cluster(tmp_path: Path) -> None:
    cluster = {"server": "https://api.test", "insecure-skip-tls-verify": True}
    config = load_config(kubeconfig(tmp_path / "k", {"token": "t"}, cluster))
    context = (await config.access()).ssl
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


async def test_proxies_come_from_the_kubeconfig_or_the_environment_unless_exempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = {"server": "https://api.test", "insecure-skip-tls-verify": True}
    path = kubeconfig(tmp_path / "k", {"token": "t"}, cluster | {"proxy-url": "http://p:1"})
    assert (await load_config(path).access()).proxy == "http://p:1"
    kubeconfig(path, {"token": "t"}, cluster)
    assert (await load_config(path).access()).proxy is None
    monkeypatch.setenv("HTTPS_PROXY", "http://env:2")
    assert (await load_config(path).access()).proxy == "http://env:2"
    monkeypatch.setenv("NO_PROXY", ".test")
    assert (await load_config(path).access()).proxy is None


def service_account(folder: Path, token: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    (folder / "ca.crt").write_bytes(pair("ca")[0])
    (folder / "namespace").write_text("pod-namespace")
    return folder


async def test_in_a_pod_the_rotating_token_is_read_again(tmp_path: Path) -> None:
    folder = service_account(tmp_path / "sa", "first")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    config = from_service_account(folder, environ)
    assert config.base_url == "https://[fd00::1]:443"
    assert config.namespace == "pod-namespace"
    before = await config.access()
    assert before.headers["Authorization"].lower() == "bearer first"
    (folder / "token").write_text("second")
    config._loaded_at -= 61.0
    after = await config.access()
    assert after.headers["Authorization"].lower() == "bearer second"
    assert after.ssl is before.ssl


async def test_the_order_is_argument_environment_pod_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = kubeconfig(tmp_path / "given", {"token": "given"})
    kubeconfig(tmp_path / "home/.kube/config", {"token": "home"})
    assert await header(load_config()) == "Bearer home"
    monkeypatch.setattr("berth.kube.config.SERVICE_ACCOUNT", service_account(tmp_path / "sa", "pod"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert (await header(load_config())).lower() == "bearer pod"
    first, second = kubeconfig(tmp_path / "a", {"token": "env"}), tmp_path / "missing"
    monkeypatch.setenv("KUBECONFIG", f"{second}{os.pathsep}{first}")
    assert await header(load_config()) == "Bearer env"
    assert await header(load_config(given)) == "Bearer given"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "empty"),
        ("{}", "current-context"),
        (": : :", "kubeconfig"),
        ("[1, 2]", "kubeconfig"),
        (json.dumps({"current-context": "x", "contexts": []}), "'?x'? in"),
    ],
)
def test_a_broken_kubeconfig_is_one_clear_line(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "k"
    path.write_text(content)
    with pytest.raises(ConfigError) as info:
        load_config(path)
    assert str(path) in str(info.value)
    assert info.match(says)


def test_a_missing_cluster_or_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --kubeconfig FILE, set KUBECONFIG"):
        load_config()
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="with name nowhere"):
        load_config(kubeconfig(tmp_path / "k", {}), "nowhere")
    user = {"client-certificate": "/no/file", "client-key": "/no/key"}
    with pytest.raises(ConfigError, match="/no/file"):
        load_config(kubeconfig(tmp_path / "k", user, {"server": "https://api.test"}))


@pytest.mark.cluster
async def test_tokens_and_plug_ins_are_accepted_by_the_real_api_server(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    token = await asyncio.to_thread(control_plane.token, namespace, "worker")
    path = control_plane.kubeconfig_for(token, namespace)
    good = load_config(path)
    who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    user = f"system:serviceaccount:{namespace}:worker"
    async with Client(good) as client:
        assert (await client.create(who, review))["status"]["userInfo"]["username"] == user
    # A plug-in that first gives a token which the server refuses, then a good one.
    script = tmp_path / "plugin"
    script.write_text(
        f"#!{sys.executable}\nimport json, pathlib\n"
        f"flag = pathlib.Path({str(tmp_path / 'flag')!r})\n"
        f"token = {token!r} if flag.exists() else 'stale'\nflag.touch()\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        " 'status': {'token': token}}))\n"
    )
    script.chmod(0o755)
    content = yaml.safe_load(path.read_text())
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script)}
    content["users"][0]["user"] = {"exec": command | {"interactiveMode": "Never"}}
    (tmp_path / "k").write_text(yaml.safe_dump(content))
    config = load_config(tmp_path / "k")
    config._loaded_at = time.monotonic() - 60.0
    async with Client(config) as client:
        assert (await client.create(who, review))["status"]["userInfo"]["username"] == user
