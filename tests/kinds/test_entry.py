import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.kinds import (
    Entry,
    Phase,
    Report,
    format_entry,
    format_report,
    is_name,
    parse_entry,
    parse_report,
)
from berth.kinds.entry import (
    ENTRY_MAX_LENGTH,
    ENTRY_PATTERN,
    MAX_NAME,
    MAX_SLOT,
    MAX_TERM,
    REPORT_MAX_LENGTH,
    REPORT_PATTERN,
)

labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=8).map(".".join)
terms = st.integers(1, MAX_TERM)
replicas = st.builds(Entry, names, st.integers(1, MAX_SLOT), terms, st.just(0))
primaries = st.builds(Entry, names, st.just(0), terms, terms)
reports = st.builds(Report, names, terms, st.sampled_from(Phase))
# Texts near the format, so that most differ from an entry in one place.
near_misses = st.text("a0-.#@:=", max_size=14) | st.from_regex(r"[a-z0-9.-]{1,6}#[0-9]{1,4}@[0-9:]{1,6}")


def test_an_entry_is_written_in_the_documented_form() -> None:
    assert format_entry(Entry("orders-0007", 1, 12, 0)) == "orders-0007#1@12"
    assert format_entry(Entry("orders-0007", 0, 12, 15)) == "orders-0007#0@12:15"
    assert format_report(Report("orders-0007", 12, Phase.READY)) == "orders-0007@12=Ready"


@given(replicas | primaries)
def test_an_entry_that_is_written_is_read_back(entry: Entry) -> None:
    text = format_entry(entry)
    assert parse_entry(text) == entry
    assert parse_entry(text).primary == (entry.epoch > 0)
    assert re.search(ENTRY_PATTERN, text)
    assert len(text) <= ENTRY_MAX_LENGTH


@given(reports)
def test_a_report_that_is_written_is_read_back(report: Report) -> None:
    text = format_report(report)
    assert parse_report(text) == report
    assert isinstance(parse_report(text).phase, Phase)
    assert re.search(REPORT_PATTERN, text)
    assert len(text) <= REPORT_MAX_LENGTH


@given(near_misses)
def test_only_the_canonical_form_that_the_api_server_accepts_is_read(text: str) -> None:
    if re.fullmatch(ENTRY_PATTERN.removesuffix("$"), text):
        assert format_entry(parse_entry(text)) == text
    else:
        with pytest.raises(ValueError, match=re.escape(repr(text))):
            parse_entry(text)


@given(near_misses)
def test_a_name_is_a_dns_subdomain(text: str) -> None:
    label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    assert is_name(text) == bool(re.fullmatch(rf"{label}(\.{label})*", text))


def test_entries_sorted_as_strings_are_sorted_by_name() -> None:
    items = ["a", "a-b", "a.b", "a0", "ab", "b", "aa", "a-", "0"]
    texts = sorted(f"{name}#1@1" for name in items)
    assert [text.split("#")[0] for text in texts] == sorted(items)


def test_the_longest_entry_fits() -> None:
    name = ".".join(["a" * 63] * 4)[:MAX_NAME]
    assert len(name) == 253
    text = format_entry(Entry(name, 0, MAX_TERM, MAX_TERM))
    assert len(text) == ENTRY_MAX_LENGTH
    assert parse_entry(text).name == name
    report = format_report(Report(name, MAX_TERM, Phase.PREPARING))
    assert len(report) == REPORT_MAX_LENGTH
    assert parse_report(report).name == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected NAME#SLOT@GRANT"),
        ("orders", "expected NAME#SLOT@GRANT"),
        ("orders#1", "expected NAME#SLOT@GRANT"),
        ("#1@1", "'' is not a name"),
        ("Orders#1@1", "'Orders' is not a name"),
        ("a..b#1@1", "'a..b' is not a name"),
        ("a.-b#1@1", "'a.-b' is not a name"),
        ("a-.b#1@1", "'a-.b' is not a name"),
        ("-a#1@1", "'-a' is not a name"),
        ("a" * 254 + "#1@1", "254 characters, more than 253"),
        ("a#@1", "the slot is ''"),
        ("a#01@1", "the slot is '01'"),
        ("a#1000@1", "not a number from 0 to 999"),
        ("a#1@0", "the grant is '0'"),
        ("a#1@-1", "the grant is '-1'"),
        ("a#1@01", "without leading zeros"),
        ("a#1@1000000000000000", "not a number from 1 to 999999999999999"),
        ("a#0@5", "slot 0 is the primary and needs an epoch"),
        ("a#0@5:0", "the epoch is '0'"),
        ("a#0@5:", "the epoch is ''"),
        ("a#1@5:6", "slot 1 is a replica and has no epoch"),
        ("a#1@5\n", "the grant is '5\\n'"),
        ("a#1@٣", "the grant is '٣'"),
    ],
)
def test_an_entry_that_cannot_be_parsed_is_an_error_that_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        parse_entry(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected NAME@GRANT=PHASE"),
        ("a@1", "expected NAME@GRANT=PHASE"),
        ("a=Ready", "expected NAME@GRANT=PHASE"),
        ("a@1=ready", "the phase is 'ready', not one of Preparing, Ready, Active, Draining, Failed"),
        ("a@x=Ready", "the grant is 'x'"),
        ("a..b@1=Ready", "'a..b' is not a name"),
        ("a" * 254 + "@1=Ready", "254 characters"),
    ],
)
def test_a_report_that_cannot_be_parsed_is_an_error_that_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_report(text)
