"""The Member of this process: announced, kept on the API server, drained and withdrawn."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from berth.kinds import MemberObject
from berth.kube import MEMBERS, ApiError, Backoff, Client, Conflict, NotFound
from berth.member.assignment import AssignmentWatch, StatusReporter
from berth.member.callbacks import CallbackRunner
from berth.member.settings import Settings, SettingsError
from berth.member.tasks import wait_at_most

log = logging.getLogger("berth.member")

CHECK = 30.0  # seconds between checks whether the Member still exists


class NameTaken(Exception):  # noqa: N818 - a state, like the errors of berth.kube
    """Another live session holds the Member's name; two processes must not share one."""


@dataclass(eq=False)
class MemberRegistration:
    """The Member on the API server, through all sessions of one process."""

    client: Client
    namespace: str
    settings: Settings
    draining: asyncio.Event
    """Set once the process is to leave: the Member is then announced with a limit of 0."""
    known: bool = False  # whether the Member has been announced before

    @property
    def _path(self) -> str:
        return MEMBERS.path(self.namespace, self.settings.name)

    async def announce(self) -> str:
        """Create the Member, or take over the existing one, and return its uid. The caller holds its Lease.

        Retries until it succeeds. If it has not been announced before, errors that waiting does not cure are
        raised: ApiError, and SettingsError if the Member belongs to another Pool.
        """
        backoff = Backoff(base=0.2, limit=5.0)
        while True:
            try:
                uid = await self._create_or_update()
                self.known = True
                return uid
            except ApiError as error:
                permanent = 400 <= error.status < 500 and error.status not in (409, 429)
                if permanent and not self.known:
                    raise
                log.warning("member %s: cannot be announced: %s", self.settings.name, error)
            await asyncio.sleep(backoff.next())

    async def _create_or_update(self) -> str:
        settings = self.settings
        name, pool = settings.name, settings.pool
        spec: dict[str, Any] = {"leaseName": name, "zone": settings.zone, "readiness": settings.readiness}
        if self.draining.is_set():
            spec["limit"] = 0
        elif not self.known:  # later an operator may have changed it
            spec["limit"] = settings.limit
        # Always set: otherwise the Member would be deleted together with an earlier pod of this name.
        metadata = {"ownerReferences": msgspec.to_builtins(settings.owners)} if settings.owners else {}
        try:
            existing = await self.client.get(self._path, type=MemberObject)
        except NotFound:
            body = {
                "apiVersion": MEMBERS.api_version,
                "kind": "Member",
                "metadata": {"name": name, "namespace": self.namespace, **metadata},
                "spec": {"limit": settings.limit, **spec, "pool": pool},
            }
            created = await self.client.create(MEMBERS.path(self.namespace), body, type=MemberObject)
            return created.metadata.uid
        if existing.spec.pool != pool:
            raise SettingsError(
                f"Member {self.namespace}/{name} exists in pool {existing.spec.pool!r} and cannot "
                f"move to {pool!r}: delete it, or choose another name"
            )
        patch = {"metadata": metadata, "spec": spec}
        try:
            updated = await self.client.patch(self._path, patch, "merge", type=MemberObject, idempotent=True)
        except NotFound:
            raise Conflict(409, "Deleted", "it was deleted at the same time") from None
        return updated.metadata.uid

    async def keep_announced(self, watch: AssignmentWatch) -> None:
        """Announce the Member again if it is deleted; `watch` gets its new uid. Runs until cancelled."""
        name, backoff = self.settings.name, Backoff(base=0.2, limit=CHECK)
        while True:
            await wait_at_most(CHECK, watch.member_doubt)
            watch.member_doubt.clear()
            try:
                uid = await self._find()
                if uid is None:
                    log.warning("member %s: was deleted, announcing it again", name)
                    uid = await self.announce()
                watch.set_member(uid)
                backoff.reset()
            except ApiError as error:
                log.debug("member %s: cannot be read: %s", name, error)
                await asyncio.sleep(backoff.next())
                watch.member_doubt.set()

    async def _find(self) -> str | None:
        """The uid of the Member; None if there is none with our Lease.

        Raises ApiError: Conflict while a finalizer holds up its deletion.
        """
        try:
            member = await self.client.get(self._path, type=MemberObject)
        except NotFound:
            return None
        if member.metadata.deletion_timestamp is not None:
            raise Conflict(409, "Terminating", "it is being deleted")
        return member.metadata.uid if member.spec.lease_name == self.settings.name else None

    async def hand_over(
        self, until: float, watch: AssignmentWatch, reporter: StatusReporter, runner: CallbackRunner
    ) -> bool:
        """Set the limit to 0 and wait until nothing is held here; False if something still is at `until`."""
        name, backoff = self.settings.name, Backoff(base=0.1, limit=2.0)
        limit_is_0, absent, next_try = False, False, 0.0
        last_count, last_log = -1, 0.0
        while (now := time.monotonic()) < until:
            if not limit_is_0 and now >= next_try:
                try:
                    async with asyncio.timeout(until - now):
                        patch = {"spec": {"limit": 0}}
                        await self.client.patch(self._path, patch, "merge", idempotent=True)
                    limit_is_0 = True
                except NotFound:
                    absent = True  # it may be about to be announced again, with its old limit
                except (ApiError, TimeoutError) as error:
                    absent = False
                    problem = str(error) or "no answer in time"
                    log.warning("member %s: cannot set its limit to 0: %s", name, problem)
                next_try = time.monotonic() + backoff.next()
            if (limit_is_0 or absent) and watch.empty and runner.empty and reporter.empty:
                log.info("member %s: drained", name)
                return True
            count = len(runner.held)
            if count != last_count and now - last_log > 1.0:
                log.info("member %s: draining, %d items left", name, count)
                last_count, last_log = count, now
            await asyncio.sleep(0.02)
        log.error("member %s: the drain took too long, dropping %d items", name, len(runner.held))
        return False

    async def withdraw(self) -> None:
        """Delete the Member, if that succeeds within the Lease's duration."""
        name = self.settings.name
        try:
            async with asyncio.timeout(self.settings.lease_seconds):
                await self.client.delete(self._path, idempotent=True)
        except NotFound:
            log.info("member %s: was already deleted", name)
        except (ApiError, TimeoutError) as error:
            problem = str(error) or "no answer in time"
            log.warning("member %s: not deleted, it is dead once its Lease has expired: %s", name, problem)
