"""The operator: follow (informers to brains), lead (the loop of a Pool), apply, publish, kopf's wiring."""

from berth.controller.app import serve
from berth.controller.leader import Controller, Options

__all__ = ["Controller", "Options", "serve"]
