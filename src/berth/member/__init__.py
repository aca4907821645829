"""What runs in a user's pods: a Session that holds Items under a Lease and calls a worker for each."""

from berth.member.registration import NameTaken
from berth.member.session import Outcome, Session, serve
from berth.member.settings import Options, Settings, SettingsError
from berth.member.worker import Held, Worker

__all__ = [
    "Held", "NameTaken", "Options", "Outcome", "Session", "Settings", "SettingsError", "Worker", "serve",
]  # fmt: skip
