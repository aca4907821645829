"""The wire format of an Assignment's entries and reports: one short string each.

Hundreds of thousands of these are read when a controller starts, so both directions stay
close to what one regular expression and one f-string cost, and nothing here uses pydantic.

==============  ==========================  ===================================================
what            string                      meaning
==============  ==========================  ===================================================
replica         ``orders-0007#1@12``        slot 1, granted in term 12
primary         ``orders-0007#0@12:15``     slot 0, granted in term 12, primary since term 15
report          ``orders-0007@12=Ready``    the Member's report on what it was granted in term 12
==============  ==========================  ===================================================

``#`` sorts before every character of a name, so entries sorted as strings are sorted by name.
"""

import re
from enum import StrEnum
from typing import NamedTuple

MAX_NAME = 253
"""Longest name of an Item: that of any Kubernetes object (DNS-1123 subdomain)."""

MAX_SLOT = 999
"""Highest slot. Slots run to ``replicas`` - 1, and a little above while an Item moves."""

MAX_TERM = 10**15 - 1
"""Highest term, grant and epoch: exact in every JSON reader, ``float64`` ones included."""

# Names are spelled without ambiguity (every character decides alone how the match goes on), which
# lets Go's regexp run these in one pass without backtracking: the API server checks each entry of
# each write with them.
_LABEL = "[a-z0-9]+(-+[a-z0-9]+)*"
_NAME = rf"{_LABEL}(\.{_LABEL})*"
_TERM = "[1-9][0-9]{0,14}"

NAME_PATTERN = f"^{_NAME}$"
"""A DNS-1123 subdomain, without its limit on length."""

ENTRY_PATTERN = f"^{_NAME}#(0@{_TERM}:{_TERM}|[1-9][0-9]{{0,2}}@{_TERM})$"
"""The pattern by which the API server checks an entry of ``Assignment.spec.items``."""

ENTRY_MAX_LENGTH = MAX_NAME + len("#0@") + 15 + len(":") + 15
"""Longest entry, in characters."""


class Phase(StrEnum):
    """What a Member reports about an Item that it was granted."""

    PREPARING = "Preparing"
    """Being loaded; not ready yet."""
    READY = "Ready"
    """Prepared: a replica that works or stands by."""
    ACTIVE = "Active"
    """Works as primary."""
    DRAINING = "Draining"
    """Being released."""
    FAILED = "Failed"
    """The worker could not do it; ``status.problems`` says why."""


REPORT_PATTERN = f"^{_NAME}@{_TERM}=({'|'.join(Phase)})$"
"""The pattern by which the API server checks an entry of ``Assignment.status.items``."""

REPORT_MAX_LENGTH = MAX_NAME + len("@") + 15 + len("=") + max(map(len, Phase))
"""Longest report, in characters."""


class Entry(NamedTuple):
    """One Item on one Member, as the leader assigned it."""

    name: str
    """The Item's name."""
    slot: int
    """0 is the primary; replicas count from 1."""
    grant: int
    """The term in which the Item was given to this Member."""
    epoch: int
    """The term in which slot 0 was last given to a holder; 0 for a replica."""

    @property
    def primary(self) -> bool:
        """Whether this is the Item's slot 0."""
        return self.slot == 0


class Report(NamedTuple):
    """One Item on one Member, as the Member reports it."""

    name: str
    """The Item's name."""
    grant: int
    """The grant that the report is about; a report of another grant is ignored."""
    phase: Phase
    """The Member's progress with the Item."""


# The same language for Python's `re`, which has no one-pass engine: the name is matched in a simpler
# form, and what that lets through ("a..b", "a-.b") is found by the two characters that give it away.
_ENTRY = re.compile(
    rf"([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)#(?:0@({_TERM}):({_TERM})|([1-9][0-9]{{0,2}})@({_TERM}))", re.ASCII
)
_REPORT = re.compile(rf"([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)@({_TERM})=({'|'.join(Phase)})", re.ASCII)
_PHASES = {phase.value: phase for phase in Phase}


def _is_malformed(name: str) -> bool:
    return len(name) > MAX_NAME or ("." in name and (".." in name or ".-" in name or "-." in name))


def is_name(name: str) -> bool:
    """Whether `name` can be the name of an Item or a Member: a DNS-1123 subdomain of up to 253 characters."""
    return len(name) <= MAX_NAME and re.fullmatch(_NAME, name, re.ASCII) is not None


def is_label(name: str) -> bool:
    """Whether `name` can be the name of a Pool or a namespace: a DNS label of up to 63 characters."""
    return len(name) <= 63 and re.fullmatch(_LABEL, name, re.ASCII) is not None


def format_entry(entry: Entry) -> str:
    """The string of `entry`, which `parse_entry` reads back; a replica's epoch (always 0) is not written."""
    name, slot, grant, epoch = entry
    return f"{name}#0@{grant}:{epoch}" if slot == 0 else f"{name}#{slot}@{grant}"


def parse_entry(text: str) -> Entry:
    """Parse `text`.

    Raises `ValueError`, naming the entry and what is wrong with it, for anything that
    `format_entry` would not have written: no text has two spellings.
    """
    match = _ENTRY.fullmatch(text)
    if match is None or _is_malformed(match[1]):
        raise ValueError(f"entry {text!r}: {_explain_entry(text)}")
    name, primary_grant, epoch, slot, grant = match.groups()
    if slot is None:
        return Entry(name, 0, int(primary_grant), int(epoch))
    return Entry(name, int(slot), int(grant), 0)


def format_report(report: Report) -> str:
    """The string of `report`."""
    name, grant, phase = report
    return f"{name}@{grant}={phase}"


def parse_report(text: str) -> Report:
    """Parse `text`; raises `ValueError`, naming it and what is wrong with it."""
    match = _REPORT.fullmatch(text)
    if match is None or _is_malformed(match[1]):
        raise ValueError(f"report {text!r}: {_explain_report(text)}")
    name, grant, phase = match.groups()
    return Report(name, int(grant), _PHASES[phase])


def _explain_name(name: str) -> str:
    if len(name) > MAX_NAME:
        return f"the name has {len(name)} characters, more than {MAX_NAME}"
    return f"{name!r} is not a name (lower case letters, digits, '-' and '.', as Kubernetes names objects)"


def _explain_term(what: str, text: str) -> str | None:
    if re.fullmatch(_TERM, text, re.ASCII):
        return None
    return f"the {what} is {text!r}, not a number from 1 to {MAX_TERM} without leading zeros"


def _explain_entry(text: str) -> str:
    name, hash_, rest = text.partition("#")
    slot, at, terms = rest.partition("@")
    if not hash_ or not at:
        return "expected NAME#SLOT@GRANT for a replica or NAME#0@GRANT:EPOCH for the primary"
    if not is_name(name):
        return _explain_name(name)
    if not re.fullmatch("0|[1-9][0-9]{0,2}", slot, re.ASCII):
        return f"the slot is {slot!r}, not a number from 0 to {MAX_SLOT} without leading zeros"
    grant, colon, epoch = terms.partition(":")
    if slot == "0" and not colon:
        return "slot 0 is the primary and needs an epoch: NAME#0@GRANT:EPOCH"
    if slot != "0" and colon:
        return f"slot {slot} is a replica and has no epoch: NAME#SLOT@GRANT"
    return _explain_term("grant", grant) or _explain_term("epoch", epoch) or "cannot be read"


def _explain_report(text: str) -> str:
    name, at, rest = text.partition("@")
    grant, equals, phase = rest.partition("=")
    if not at or not equals:
        return "expected NAME@GRANT=PHASE"
    if not is_name(name):
        return _explain_name(name)
    if phase not in _PHASES:
        return f"the phase is {phase!r}, not one of {', '.join(_PHASES)}"
    return _explain_term("grant", grant) or "cannot be read"
