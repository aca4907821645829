"""The objects on the API server that a Member touches, as far as it reads them."""

import msgspec

from berth.kinds import GROUP, PLURALS, VERSION
from berth.kube import Meta, Resource

MEMBERS = Resource(GROUP, VERSION, PLURALS["Member"])
ASSIGNMENTS = Resource(GROUP, VERSION, PLURALS["Assignment"])
ITEMS = Resource(GROUP, VERSION, PLURALS["Item"])

MEMBER_LABEL = "berth.dev/member"
"""On the Lease of a Member: the Member's name. The admission policy for workers goes by it."""


class AssignmentSpec(msgspec.Struct, frozen=True):
    """What the leader wants here."""

    session: str | None = None
    """The session that the entries are for; None where an older leader wrote them."""
    items: tuple[str, ...] = ()


class AssignmentStatus(msgspec.Struct, frozen=True):
    """What was said last; only whose word it was is read."""

    session: str = ""


class Assignment(msgspec.Struct, frozen=True):
    """This Member's Assignment."""

    metadata: Meta
    spec: AssignmentSpec = AssignmentSpec()
    status: AssignmentStatus | None = None

    @property
    def session(self) -> str:
        """The session that reported last; empty where none has."""
        return "" if self.status is None else self.status.session

    def for_another(self, session: str) -> bool:
        """Whether its entries are for a session other than that one."""
        return self.spec.session is not None and self.spec.session != session

    def of_another(self, uid: str) -> bool:
        """Whether it is owned by a Member other than the one with that uid.

        The leader replaces such a one: it was written for an earlier Member of this name. One without
        an owner was made by hand, and is taken as it is.
        """
        owners = {owner.uid for owner in self.metadata.owner_references if owner.kind == "Member"}
        return bool(owners) and uid not in owners


class MemberSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What is read of a Member's spec."""

    pool: str = "default"
    limit: int = 0
    lease_name: str | None = None


class MemberObject(msgspec.Struct, frozen=True):
    """This Member as it stands on the API server."""

    metadata: Meta
    spec: MemberSpec = MemberSpec()


class ItemSpec(msgspec.Struct, frozen=True):
    """What is read of an Item."""

    data: dict[str, str] = {}


class ItemObject(msgspec.Struct, frozen=True):
    """An Item."""

    spec: ItemSpec = ItemSpec()
