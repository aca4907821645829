"""The command line: `berth`, also installed as `kubectl-berth`."""

from berth.cli.main import app, main

__all__ = ["app", "main"]
