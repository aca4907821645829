import json

import pytest

from berth.kube import (
    ApiError,
    Backoff,
    Conflict,
    ConnectionLost,
    DeadlinePassed,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    RequestTimeout,
    Resource,
    ServerError,
    TooManyRequests,
    Unauthorized,
)
from berth.kube.errors import error_from_response
from berth.kube.resource import LEASES, resource_of
from berth.kube.transport import request_url

CONFIG_MAPS = Resource("", "v1", "configmaps")
ITEMS = Resource("berth.dev", "v1alpha1", "items")


def test_paths_of_groups_namespaces_names_and_subresources() -> None:
    assert ITEMS.path() == "/apis/berth.dev/v1alpha1/items"
    assert ITEMS.path("ns") == "/apis/berth.dev/v1alpha1/namespaces/ns/items"
    assert ITEMS.path("ns", "a", "status") == "/apis/berth.dev/v1alpha1/namespaces/ns/items/a/status"
    assert CONFIG_MAPS.path("ns", "a") == "/api/v1/namespaces/ns/configmaps/a"
    assert Resource("", "v1", "nodes").path(None, "n") == "/api/v1/nodes/n"
    assert (ITEMS.api_version, CONFIG_MAPS.api_version) == ("berth.dev/v1alpha1", "v1")


@pytest.mark.parametrize(
    ("path", "label"),
    [
        (ITEMS.path(), "items"),
        (ITEMS.path("ns"), "items"),
        (ITEMS.path("ns", "a"), "items"),
        (ITEMS.path("ns", "a", "status"), "items/status"),
        (LEASES.path("ns", "l"), "leases"),
        ("/api/v1/namespaces", "namespaces"),
        ("/api/v1/namespaces/ns", "namespaces"),
        ("/version", "version"),
        ("/readyz?verbose", "readyz"),
    ],
)
def test_a_metric_label_never_holds_an_object_name(path: str, label: str) -> None:
    assert resource_of(path) == label


def test_query_values_are_quoted_once() -> None:
    url = request_url("https://h", "/api/v1/pods", {"labelSelector": "a=b,c in (d+e)", "watch": True})
    assert str(url) == "https://h/api/v1/pods?labelSelector=a%3Db%2Cc%20in%20%28d%2Be%29&watch=true"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, ApiError),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Gone),
        (422, Invalid),
        (429, TooManyRequests),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_each_status_has_its_error(code: int, kind: type[ApiError]) -> None:
    body = {"kind": "Status", "code": code, "reason": "Why", "message": "because"}
    error = error_from_response(code, "Phrase", json.dumps(body).encode())
    assert type(error) is kind
    assert (error.status, error.reason, error.message, error.retry_after) == (code, "Why", "because", None)
    assert str(error) == f"{code} Why: because"
    assert type(error_from_response(None, "", json.dumps(body).encode())) is kind


def test_retry_after_comes_from_the_header_else_from_the_details() -> None:
    body = json.dumps({"details": {"retryAfterSeconds": 7}}).encode()
    assert error_from_response(429, "", body, "3").retry_after == 3.0
    assert error_from_response(429, "", body, None).retry_after == 7.0
    assert error_from_response(429, "", b"{}", "Wed, 21 Oct 2026 07:28:00 GMT").retry_after is None


def test_the_page_of_a_proxy_is_quoted_in_the_error() -> None:
    error = error_from_response(502, "Bad Gateway", b"<html>upstream is down</html>")
    assert isinstance(error, ServerError)
    assert "upstream is down" in str(error)
    event = error_from_response(None, "", b"garbage")
    assert isinstance(event, ServerError)
    assert "garbage" in str(event)


def test_lost_connections_are_distinguished_and_are_api_errors() -> None:
    assert RequestTimeout("x").maybe_done
    assert not DeadlinePassed("x").maybe_done
    assert isinstance(DeadlinePassed("x"), ConnectionLost)
    assert isinstance(ConnectionLost("x"), ApiError)
    assert str(ConnectionLost("x")) == "ConnectionLost: x"


def test_backoff_doubles_up_to_its_limit_and_spreads_over_half_the_span() -> None:
    backoff = Backoff(base=1.0, limit=10.0)
    for span in (1.0, 2.0, 4.0, 8.0, *[10.0] * 100):
        assert span / 2 <= backoff.next() <= span
    backoff.reset()
    assert 0.5 <= backoff.next() <= 1.0
