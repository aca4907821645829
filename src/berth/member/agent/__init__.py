"""`berth agent`: a Session for a worker in any language, driven by HTTP, by commands or by a file."""

from berth.member.agent.command import CommandWorker
from berth.member.agent.file import FileWorker
from berth.member.agent.http import HttpWorker
from berth.member.agent.run import run_agent

__all__ = ["CommandWorker", "FileWorker", "HttpWorker", "run_agent"]
