"""Headers in: strictly by the standards, never an error. Headers out: standard."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause import _guard
from firstcause.trace import context
from firstcause.trace.context import (
    format_baggage,
    format_traceparent,
    member,
    new_request_id,
    new_span_id,
    new_trace_id,
    parse_baggage,
    parse_traceparent,
    valid_request_id,
    valid_state,
    with_member,
    without,
)

T, S = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE, SPAN = int(T, 16), int(S, 16)

names = st.from_regex(r"[a-z][a-z0-9_.-]{0,10}", fullmatch=True)


def rejected(header: str) -> int:
    """How often `header` was refused."""
    return _guard.self_counts().get(("firstcause.self.rejected_headers", (("header", header),)), 0)


@given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.integers(0, 3))
def test_traceparent_round_trip(trace_id: int, span_id: int, flags: int) -> None:
    """What is formatted is parsed to the same ids and flags."""
    assert (trace_id, span_id, flags, "") == parse_traceparent(format_traceparent(trace_id, span_id, flags))


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (f"00-{T}-{S}-01", 1), (f"00-{T}-{S}-00", 0), (f"00-{T}-{S}-ff", 255), (f"01-{T}-{S}-01", 1),
        (f"cc-{T}-{S}-01-what-the-future", 1), (f"fe-{T}-{S}-01-", 1),
    ],
)  # fmt: skip
def test_valid_traceparents(header: str, flags: int) -> None:
    """Version 00 and later ones, which may append after a dash, are taken."""
    assert (TRACE, SPAN, flags, "") == parse_traceparent(header)


@pytest.mark.parametrize(
    "header",
    [
        "", "00", f"ff-{T}-{S}-01", f"ff-{T}-{S}-01-x", f"00-{'0' * 32}-{S}-01", f"00-{T}-{'0' * 16}-01",
        f"00-{T.upper()}-{S}-01", f"00-{T}-{S.upper()}-01", f"0A-{T}-{S}-01", f"00-{T}-{S}-0A",
        f"00-{T}-{S}-01-x", f"00-{T}-{S}-01-", f"01-{T}-{S}-01x", f"00-{T}-{S}-1", f"00-{T}-{S}", f"00-{T[1:]}-{S}-01",
        f" 00-{T}-{S}-01", f"00-{T}-{S}-01\n", f"00_{T}_{S}_01", f"00-{T[:-1]}g-{S}-01", f"cc-{T}-{S}-01-{'x' * 600}",
        "٠٠-" + T + "-" + S + "-01",
    ],
)  # fmt: skip
def test_invalid_traceparents(header: str) -> None:
    """Wrong version, zero ids, upper case, lengths and separators: none is taken, each is counted."""
    assert parse_traceparent(header) is None
    assert 1 == rejected("traceparent")


@given(st.text(max_size=80), st.text(max_size=80))
def test_hostile_trace_headers_never_raise(header: str, state: str) -> None:
    """Arbitrary text gives a context within the limits or none."""
    found = parse_traceparent(header, state) or parse_traceparent(f"00-{T}-{S}-01", state)
    assert found is not None
    assert found[3] in (state, "")


@pytest.mark.parametrize("state", ["a=1" + ",b=2" * 32, "a=" + "x" * 511, "a=é", "a=\x00", "a=1\r\nX: y"])
def test_oversized_or_unprintable_tracestates_are_dropped(state: str) -> None:
    """Beyond 32 members or 512 characters, or with control characters, nothing is passed on."""
    assert "" == valid_state(state)
    assert 1 == rejected("tracestate")


def test_tracestate_limits_are_inclusive() -> None:
    """32 members and 512 characters are within the standard; tabs around members too."""
    most = ",".join(f"k{n}=v" for n in range(32))
    assert most == valid_state(most)
    assert 512 == len(valid_state("a=" + "x" * 510))
    assert "a=1,\tb=2" == valid_state("a=1,\tb=2")


def test_tracestate_members() -> None:
    """Our member goes in front and replaces its older self; others keep their order."""
    assert "fc=1" == with_member("", "fc", "1")
    assert "fc=2,a=1,b=3" == with_member("a=1, fc=1 ,b=3", "fc", "2")
    assert "a=1,b=3" == without("a=1,fc=1,b=3", "fc")
    assert "a=1, b=3" == without("a=1, b=3", "fc")
    assert ("1", "", "") == (member("a=0,\tfc=1", "fc"), member("xfc=1", "fc"), member("", "fc"))


@given(st.lists(st.tuples(names, st.text("abc123", max_size=60)), max_size=40))
def test_tracestate_stays_within_its_limits(pairs: list[tuple[str, str]]) -> None:
    """Whatever came in, what goes out is valid and begins with our member."""
    state = with_member(",".join(f"{k}={v}" for k, v in pairs), "fc", "0123456789abcdef")
    assert state == valid_state(state)
    assert "0123456789abcdef" == member(state, "fc")


@given(st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=20))
def test_baggage_round_trip(items: dict[str, str]) -> None:
    """Names and values survive, whatever characters a value has."""
    assert items == parse_baggage(format_baggage(items))


@pytest.mark.parametrize("header", ["a=" + "x" * 8192, ",".join(f"k{n}=v" for n in range(65))])
def test_oversized_baggage_is_dropped(header: str) -> None:
    """Beyond 8192 bytes or 64 members nothing is taken."""
    assert {} == parse_baggage(header)
    assert 1 == rejected("baggage")


def test_malformed_members_are_left_out() -> None:
    """One malformed member does not cost the others; properties are ignored."""
    assert {"a": "1", "c": "ü"} == parse_baggage("a = 1 ;ttl=3, b, c=%C3%BC,=x,b d=1,,")
    assert 3 == rejected("baggage")


class Unprintable:
    """Raises when printed."""

    def __str__(self) -> str:
        raise RuntimeError


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.text(), st.integers(), st.builds(Unprintable)), max_size=90))
def test_baggage_out_stays_within_its_limits(items: dict[str, object]) -> None:
    """Whatever an application puts into its baggage, the header is valid and nothing raises."""
    header = format_baggage(items)
    assert len(header) <= 8192
    assert header.count(",") < 64
    assert len(parse_baggage(header)) == len(header.split(",") if header else [])


def test_a_long_value_does_not_cost_the_others() -> None:
    """What does not fit is left out and counted; later members still go."""
    assert "a=1,c=3" == format_baggage({"a": 1, "b": "x" * 9000, "c": 3})
    assert 1 == _guard.self_counts()[("firstcause.self.dropped", (("reason", "invalid"), ("signal", "baggage")))]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"abc-1.2_Z", "abc-1.2_Z"), (b"a" * 128, "a" * 128), (b"a" * 129, ""), (b"", ""), (b"a b", ""),
        (b"a\n", ""), (b"a\r\nSet-Cookie: x", ""), (b"\xc3\xa9", ""), (b"<script>", ""),
    ],
)  # fmt: skip
def test_request_ids(raw: bytes, expected: str) -> None:
    """A request id is taken when it is 1 to 128 letters, digits, dots, underscores and dashes."""
    assert expected == valid_request_id(raw)


def test_new_ids() -> None:
    """Our own ids are valid and differ."""
    assert 200 == len(
        {new_request_id() for _ in range(100)} | {valid_request_id(new_request_id().encode()) for _ in range(100)}
    )
    assert re.fullmatch("[0-9a-f]{32}", new_request_id())
    assert 0 < new_trace_id() < 1 << 128 and 0 < new_span_id() < 1 << 64


def test_a_forked_child_has_ids_of_its_own() -> None:
    """Parent and child, which share the generator's state at the fork, draw different ids."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, f"{context.new_trace_id():032x}".encode())
        os._exit(0)
    mine = f"{context.new_trace_id():032x}"
    os.waitpid(child, 0)
    theirs = os.read(reader, 32).decode()
    os.close(reader)
    os.close(writer)
    assert 32 == len(theirs)
    assert mine != theirs
