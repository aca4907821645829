"""What a request to the API server can fail with.

Every error carries what the server said (`status`, `reason`, `message`), so that a caller can branch on the
class and a person can read the text.
"""

# ruff: noqa: N818 - named as Kubernetes names its reasons

import msgspec

__all__ = [
    "ApiError",
    "ConfigError",
    "Conflict",
    "ConnectionLost",
    "DeadlinePassed",
    "Forbidden",
    "Gone",
    "Invalid",
    "NotFound",
    "RequestTimeout",
    "ServerError",
    "TooManyRequests",
    "Unauthorized",
    "error_from_response",
    "error_from_status",
]


class ConfigError(Exception):
    """The cluster's address or the credentials could not be loaded; the message says what to change."""


class ApiError(Exception):
    """A request failed.

    `status` is the HTTP status (0 where no answer came), `reason` the API server's word for it
    (`AlreadyExists`, `Expired`, ...), `retry_after` the seconds the server asks to wait, or None.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(status, reason, message, retry_after)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return (
            f"{self.status} {self.reason}: {self.message}"
            if self.status
            else f"{self.reason}: {self.message}"
        )


class Unauthorized(ApiError):
    """401: the credentials were refused, fresh ones too."""


class Forbidden(ApiError):
    """403: RBAC, or an admission policy that answers so, does not allow it."""


class NotFound(ApiError):
    """404: no such object, or no such kind on this server."""


class Conflict(ApiError):
    """409: another write came first, or the object exists already (`reason` tells them apart)."""


class Gone(ApiError):
    """410: the resourceVersion or the continue token is too old; list again."""


class Invalid(ApiError):
    """422: the object breaks a rule of its schema, or a JSON patch's `test` did not hold."""


class TooManyRequests(ApiError):
    """429: the API server sheds load."""


class ServerError(ApiError):
    """5xx: the API server or something behind it failed."""


class ConnectionLost(ApiError):
    """No answer came. `maybe_done` is False where the request surely never reached the server."""

    def __init__(self, message: str, *, maybe_done: bool = True, reason: str = "ConnectionLost") -> None:
        super().__init__(0, reason, message)
        self.maybe_done = maybe_done


class RequestTimeout(ConnectionLost):
    """No answer within the request's timeout."""

    def __init__(self, message: str, *, maybe_done: bool = True) -> None:
        super().__init__(message, maybe_done=maybe_done, reason="RequestTimeout")


class DeadlinePassed(ConnectionLost):
    """The caller's deadline left no time to send the request; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, maybe_done=False, reason="DeadlinePassed")


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: float | None = None


class _Status(msgspec.Struct):
    """The fields of meta/v1 Status that matter here."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: _Details | None = None


_CLASSES: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}
_status_decoder = msgspec.json.Decoder(_Status)


def _class_for(status: int) -> type[ApiError]:
    return _CLASSES.get(status) or (ServerError if status >= 500 else ApiError)


def error_from_response(status: int, phrase: str, body: bytes, retry_after: str | None = None) -> ApiError:
    """The error for an HTTP answer of 400 and above; a body that is no Status (a proxy's page) is quoted."""
    try:
        parsed = _status_decoder.decode(body)
    except msgspec.DecodeError:
        parsed = _Status(message=body[:300].decode("utf-8", "replace").strip())
    seconds: float | None = None
    if retry_after is not None:
        try:
            seconds = max(0.0, float(retry_after))
        except ValueError:
            seconds = None  # the HTTP-date form: the API server never sends it
    if seconds is None and parsed.details is not None:
        seconds = parsed.details.retry_after_seconds
    return _class_for(status)(
        status, parsed.reason or phrase or str(status), parsed.message or phrase or "no message", seconds
    )


def error_from_status(raw: bytes) -> ApiError:
    """The error for a Status object that came as a watch event of type ERROR."""
    try:
        parsed = _status_decoder.decode(raw)
    except msgspec.DecodeError:
        return ServerError(500, "BadStatus", raw[:300].decode("utf-8", "replace"))
    code = parsed.code or 500
    details = parsed.details
    return _class_for(code)(
        code,
        parsed.reason or str(code),
        parsed.message or "no message",
        details.retry_after_seconds if details else None,
    )
