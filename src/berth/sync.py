"""`berth.sync`: the classes of `berth` for workers that are written with threads instead of asyncio."""

from berth.member.threads import Held, Session, Worker, serve

__all__ = ["Held", "Session", "Worker", "serve"]
