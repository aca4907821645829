"""The operator: follow (informers to brains), lead (the loop of a Pool), apply, publish, kopf's wiring."""

from berth.controller.app import Controller, Options, serve

__all__ = ["Controller", "Options", "serve"]
