import socket
from pathlib import Path

import pytest

from berth.kube import OwnerReference
from berth.member import Settings, SettingsError


def test_arguments_come_before_the_environment_and_that_before_defaults() -> None:
    env = {"BERTH_POOL": "from-env", "BERTH_LIMIT": "7", "BERTH_NAME": "n", "BERTH_ZONE": "z"}
    settings = Settings.of({"pool": "from-argument"}, env)
    assert (settings.pool, settings.limit, settings.name, settings.zone) == ("from-argument", 7, "n", "z")
    assert (settings.readiness, settings.lease_seconds, settings.drain_seconds) == ("Reported", 15.0, 25.0)
    assert settings.block_seconds == 10.0


def test_the_name_is_that_of_the_pod_or_else_of_the_host() -> None:
    assert Settings.of({"limit": 1}, {"BERTH_POD_NAME": "web-0"}).name == "web-0"
    assert Settings.of({"limit": 1}, {"BERTH_POD_NAME": "web-0", "BERTH_NAME": "other"}).name == "other"
    assert Settings.of({"limit": 1}, {"POD_NAME": "web-0"}).name == "web-0"
    assert Settings.of({"limit": 1}, {}).name == socket.gethostname().lower()


def test_the_pod_is_known_if_its_name_and_uid_are() -> None:
    env = {"BERTH_POD_NAME": "web-0", "BERTH_POD_UID": "123", "BERTH_POD_NAMESPACE": "ns"}
    settings = Settings.of({"limit": 1}, env)
    assert settings.owners == [OwnerReference("v1", "Pod", "web-0", "123")]
    assert settings.namespace == "ns"
    assert Settings.of({"limit": 1}, {"BERTH_POD_NAME": "web-0"}).owners == []


def test_an_empty_zone_given_as_an_argument_counts() -> None:
    assert Settings.of({"limit": 1, "zone": "", "name": "w"}, {"BERTH_ZONE": "z"}).zone == ""


def test_a_limit_of_0_is_a_limit() -> None:
    assert Settings.of({"limit": 0, "name": "w"}, {"BERTH_LIMIT": "5"}).limit == 0


def test_the_kubeconfig_may_be_text() -> None:
    assert Settings.of({"limit": 1, "name": "w", "kubeconfig": "/a"}, {}).kubeconfig == Path("/a")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "give limit= or set BERTH_LIMIT"),
        ({"BERTH_LIMIT": "many"}, "BERTH_LIMIT is 'many': set it to a number"),
        ({"BERTH_LIMIT": "5000"}, "0 to 4096"),
        ({"BERTH_LIMIT": "inf"}, "0 to 4096"),
        ({"BERTH_LIMIT": "nan"}, "0 to 4096"),
        ({"BERTH_LIMIT": "1", "BERTH_NAME": "A_b"}, "'A_b' cannot be the name of a Member"),
        ({"BERTH_LIMIT": "1", "BERTH_LEASE_SECONDS": "0.2"}, "too short"),
        ({"BERTH_LIMIT": "1", "BERTH_LEASE_SECONDS": "nan"}, "too short"),
    ],
)
def test_a_missing_or_impossible_setting_is_an_error_that_names_it(env: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.of({}, {"BERTH_NAME": "w", **env})
