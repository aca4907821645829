"""The error of `berth.testing`."""


class ControlPlaneError(Exception):
    """A control plane could not be built, started or reached; `str()` is one line with cause and remedy."""
