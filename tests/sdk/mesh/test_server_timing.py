"""The verdict on the wire: read back exactly, or not at all."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause import _guard
from firstcause.mesh.marks import answer_mark, derive, request_mark
from firstcause.mesh.server_timing import PeerVerdict, read, write

KEY = derive("a key of the deployment")
TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736
SLOW = PeerVerdict(
    "orders",
    "1.4.0",
    False,
    "http:payments",
    "db.slow_query",
    "db_pool",
    412,
    "payments",
    "2.0",
    "SELECT …",
    1,
)
OTHER = PeerVerdict("payments", "2.0", True, "db:postgresql/pay", "db.slow", "", 7, "payments", "2.0", "", 0)

fields = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=16)
verdicts = st.builds(
    PeerVerdict, fields, fields, st.booleans(), fields, fields, fields, st.integers(0, 10**9), fields, fields,
    fields, st.integers(0, 16),
)  # fmt: skip


def refused(reason: str) -> int:
    """How often a reply's header was refused for `reason`."""
    key = ("firstcause.self.rejected_headers", (("header", "server-timing"), ("reason", reason)))
    return _guard.self_counts().get(key, 0)


@given(verdicts, st.integers(1, (1 << 128) - 1))
def test_what_is_written_is_read(verdict: PeerVerdict, trace_id: int) -> None:
    """Fields within their limits survive the wire unchanged."""
    assert verdict == read(write(verdict, KEY, trace_id), KEY, trace_id)


@given(st.builds(PeerVerdict, *[st.text(max_size=300)] * 2, st.booleans(), *[st.text(max_size=300)] * 3,
                 st.integers(), *[st.text(max_size=300)] * 3, st.integers()))  # fmt: skip
def test_any_verdict_fits(verdict: PeerVerdict) -> None:
    """Whatever the fields hold, the member has at most 700 characters and can be read."""
    member = write(verdict, KEY, TRACE)
    found = read(member, KEY, TRACE)
    assert len(member) <= 700
    assert found is not None
    assert (verdict.failed, min(max(verdict.excess_ms, 0), 10**9)) == (found.failed, found.excess_ms)
    assert all(len(text) <= 120 and text.isprintable() for text in (found.detail, found.service, found.cause))


@given(st.text(max_size=200), st.booleans())
def test_hostile_headers_say_nothing(header: str, ours: bool) -> None:
    """No header without a mark is believed, and none raises."""
    assert read(f'fc;desc="{header}"' if ours else header, KEY, TRACE) is None


@given(st.integers(0, 400), st.sampled_from('A"\\,;.0 =\x00é'))
def test_one_changed_character_is_refused(at: int, character: str) -> None:
    """A member changed at any one place is not believed as anything else than what was written."""
    member = write(SLOW, KEY, TRACE)
    at %= len(member)
    changed = member[:at] + character + member[at + 1 :]
    assert read(changed, KEY, TRACE) in (None, SLOW)
    assert changed == member or '"' in changed[:10] or read(changed, KEY, TRACE) is None


def test_other_members_are_skipped() -> None:
    """Other metrics, with commas and quotes of their own, and several headers joined change nothing."""
    header = r'db;dur=53, cdn;desc="a, fc;desc=\"1.x.y\", \\", fcx;dur=1, ' + write(SLOW, KEY, TRACE) + " , app;dur=1.5"
    assert SLOW == read(header, KEY, TRACE)


def test_the_nearest_peer_is_heard() -> None:
    """A peer that passes on what it was told appends its own member, and that one counts."""
    assert SLOW == read(f"{write(OTHER, KEY, TRACE)}, {write(SLOW, KEY, TRACE)}", KEY, TRACE)


def test_a_forged_member_beside_a_real_one_is_skipped() -> None:
    """A member under another key neither replaces nor hides the real one."""
    real, forged = write(SLOW, KEY, TRACE), write(OTHER, derive("another key"), TRACE)
    assert SLOW == read(f"{real}, {forged}", KEY, TRACE) == read(f"{forged}, {real}", KEY, TRACE)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (write(SLOW, derive("another key"), TRACE), "forged"),
        (write(SLOW, KEY, TRACE ^ 1), "forged"),
        (write(SLOW, KEY, TRACE).replace("1.", "2.", 1), "forged"),
        (f'fc;desc="1.QQ.{request_mark(KEY, TRACE)}"', "forged"),
        (f'fc;desc="{request_mark(KEY, TRACE)}"', "malformed"),
        ("fc", "malformed"),
        ('fc;desc="' + "A" * 800 + '.0000000000000000"', "malformed"),
        (write(SLOW, KEY, TRACE) + ", x;desc=" + "a" * 8200, "oversized"),
    ],
    ids=["forged", "replayed", "version", "echo", "bare echo", "empty", "long member", "long header"],
)
def test_what_proves_nothing_is_refused_and_counted(header: str, reason: str) -> None:
    """Forged, replayed, echoed, malformed and oversized headers give nothing, and are counted once."""
    assert read(header, KEY, TRACE) is None
    assert 1 == refused(reason)


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"\x1f" * 3, b"\x1f" * 10, b"a\x1f" * 30])
def test_a_marked_but_senseless_payload_is_refused(raw: bytes) -> None:
    """Even under the right mark a payload must have all fields, as text, with numbers for numbers."""
    content = "1." + (urlsafe_b64encode(raw).decode().rstrip("=") or "A")
    assert read(f'fc;desc="{content}.{answer_mark(KEY, TRACE, content)}"', KEY, TRACE) is None
    assert 1 == refused("forged")


@pytest.mark.parametrize("unit", ['"', '\\"', ',"', "fc,", '"\\', 'fc;desc="'])
def test_a_hostile_header_costs_one_pass(unit: str) -> None:
    """8 KiB of quotes, escapes or members cost milliseconds, not a search that multiplies."""
    started = thread_time()  # others may have the machine meanwhile
    assert read("fc" + (unit * 8192)[:8190], KEY, TRACE) is None
    assert thread_time() - started < 0.25


def test_headers_of_others_are_not_counted() -> None:
    """A reply that has no member of ours is no reason to count anything."""
    assert read('db;dur=5;desc="fc", fcx;dur=2', KEY, TRACE) is None
    assert {} == _guard.self_counts()
