"""What `berth.testing` raises when a control plane cannot be had."""


class ControlPlaneError(Exception):
    """A control plane could not be built, started or spoken to; `str()` is one line with cause and remedy."""
