"""The kinds of `berth.dev`, the wire format of entries, and the CRDs generated from them."""

from berth.api.entry import (
    Entry,
    Phase,
    Report,
    format_entry,
    format_report,
    is_name,
    parse_entries,
    parse_entry,
    parse_report,
)

__all__ = [
    "Entry",
    "Phase",
    "Report",
    "format_entry",
    "format_report",
    "is_name",
    "parse_entries",
    "parse_entry",
    "parse_report",
]
