"""The operator itself: kopf wiring, the loop of each Pool, status writers, metrics."""

from berth.controller.app import run, serve
from berth.controller.leader import Controller, Options

__all__ = ["Controller", "Options", "run", "serve"]
