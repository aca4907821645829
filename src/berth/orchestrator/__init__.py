"""Keeps tasks running on workers that are reached through a Communicator, term by term. No Kubernetes."""

from berth.orchestrator.communicators import HttpCommunicator, InMemoryCommunicator
from berth.orchestrator.model import Communicator, Task, TermStats, WorkerState
from berth.orchestrator.orchestrator import Orchestrator

__all__ = [
    "Communicator", "HttpCommunicator", "InMemoryCommunicator", "Orchestrator", "Task", "TermStats",
    "WorkerState",
]  # fmt: skip
