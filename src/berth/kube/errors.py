"""The errors of requests to the API server, and how long to wait after them.

Every error carries the server's `status`, `reason` and `message`: callers branch on the class, people read
the text.
"""

# ruff: noqa: N818 - named as Kubernetes names its reasons

import contextlib
import random
from dataclasses import dataclass

import msgspec


class ConfigError(Exception):
    """The cluster's address or the credentials could not be loaded; the message says what to change."""


class ApiError(Exception):
    """A request failed.

    `status` is the HTTP status (0 without an answer), `reason` the API server's name for the error
    (`AlreadyExists`, `Expired`, ...), `retry_after` the seconds that the server asks to wait, or None.
    `maybe_done` is False if the request certainly changed nothing.
    """

    maybe_done = False

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(status, reason, message, retry_after)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.status or ''} {self.reason}: {self.message}".lstrip()


class Unauthorized(ApiError):
    """401: the credentials were refused, also after a refresh."""


class Forbidden(ApiError):
    """403: RBAC or an admission policy does not allow it."""


class NotFound(ApiError):
    """404: no such object, or no such kind on this server."""


class Conflict(ApiError):
    """409: another write came first, or the object already exists (`reason` distinguishes them)."""


class Gone(ApiError):
    """410: the resourceVersion or the continue token is too old; list again."""


class Invalid(ApiError):
    """422: the object violates its schema, or the `test` of a JSON patch failed."""


class TooManyRequests(ApiError):
    """429: the API server sheds load."""


class ServerError(ApiError):
    """5xx: the API server or something behind it failed."""

    maybe_done = True


class ConnectionLost(ApiError):
    """No answer arrived. `maybe_done` is False if the request certainly never reached the server."""

    def __init__(self, message: str, *, maybe_done: bool = True) -> None:
        super().__init__(0, type(self).__name__, message)
        self.maybe_done = maybe_done


class RequestTimeout(ConnectionLost):
    """No answer within the request's timeout."""


class DeadlinePassed(ConnectionLost):
    """The caller's deadline left no time to send the request; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, maybe_done=False)


@dataclass(slots=True)
class Backoff:
    """Counts failures in a row, and how long to wait after each: from `base` seconds, doubled up to `limit`.

    The upper half of that is random, so that clients which failed together do not retry together.
    """

    base: float = 0.2
    limit: float = 20.0
    failures: int = 0

    def next(self) -> float:
        """Count one more failure; returns the seconds to wait now."""
        self.failures += 1
        return min(self.limit, self.base * 2.0 ** min(self.failures - 1, 32)) * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Count a success."""
        self.failures = 0


class _Details(msgspec.Struct, frozen=True, rename="camel"):
    retry_after_seconds: float | None = None


class _Status(msgspec.Struct):
    """The fields of meta/v1 Status that matter here."""

    code: int = 500
    reason: str = ""
    message: str = ""
    details: _Details = _Details()


_CLASSES: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def error_from_response(
    status: int | None, phrase: str, body: bytes, retry_after: str | None = None
) -> ApiError:
    """The error for an HTTP answer of 400 and above; other bodies than a Status are quoted.

    `status` None: that of the body, a Status object that arrived as a watch event of type ERROR.
    """
    try:
        parsed = msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:
        parsed = _Status(message=body[:300].decode("utf-8", "replace").strip())
    seconds = parsed.details.retry_after_seconds
    with contextlib.suppress(ValueError):  # the HTTP-date form: the API server never sends it
        seconds = seconds if retry_after is None else max(0.0, float(retry_after))
    code = parsed.code if status is None else status
    kind = _CLASSES.get(code) or (ServerError if code >= 500 else ApiError)
    return kind(code, parsed.reason or phrase or str(code), parsed.message or phrase or "no message", seconds)


def not_understood(error: Exception, answer: bytes | str) -> ServerError:
    """The error for an answer that cannot be decoded: a proxy's page, or an answer that was cut short.

    The request may have been carried out all the same.
    """
    text = answer if isinstance(answer, str) else answer[:200].decode(errors="replace")
    return ServerError(200, "NotUnderstood", f"{error}; the answer starts with {text!r}")
