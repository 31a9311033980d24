"""W3C trace context and baggage, and request ids: strict in, standard out.

Malformed or enormous headers give the defaults and are counted, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from urllib.parse import quote, unquote
import os

from .._guard import count

Remote = tuple[int, int, int, str]
"""A caller's context: trace id, span id, flags, tracestate."""

STATE_CHARACTERS = 512
STATE_MEMBERS = 32
BAGGAGE_BYTES = 8192
BAGGAGE_MEMBERS = 64

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_random = Random(os.urandom(16))
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(16)))


def new_trace_id() -> int:
    """A random, non-zero 128-bit id."""
    return _random.getrandbits(128) or 1


def new_span_id() -> int:
    """A random, non-zero 64-bit id."""
    return _random.getrandbits(64) or 1


def new_request_id() -> str:
    """A request id of our own: 32 hexadecimal digits."""
    return f"{_random.getrandbits(128):032x}"


def valid_request_id(raw: bytes) -> str:
    """`raw` as text when it matches `[A-Za-z0-9._-]{1,128}`, else ""."""
    if _REQUEST_ID.fullmatch(raw) is not None:
        return raw.decode("ascii")
    count("firstcause.self.rejected_headers", header="x-request-id")
    return ""


def parse_traceparent(header: str, state: str = "") -> Remote | None:
    """The caller's context, None when the header is malformed (level 1; later versions may append)."""
    found = _TRACEPARENT.fullmatch(header) if len(header) <= 512 else None
    if found is not None:
        version, trace_hex, span_hex, flags, more = found.groups()
        trace_id, span_id = int(trace_hex, 16), int(span_hex, 16)
        if version != "ff" and trace_id and span_id and not (more and version == "00"):
            return trace_id, span_id, int(flags, 16), valid_state(state) if state else ""
    count("firstcause.self.rejected_headers", header="traceparent")
    return None


def valid_state(state: str) -> str:
    """`state` when it is within the standard's limits and printable, else ""."""
    if len(state) <= STATE_CHARACTERS and state.count(",") < STATE_MEMBERS and state.isascii() and state.isprintable():
        return state
    count("firstcause.self.rejected_headers", header="tracestate")
    return ""


def member(state: str, key: str) -> str:
    """The value of one tracestate member, "" without it."""
    for part in state.split(","):
        name, _, value = part.strip().partition("=")
        if name == key:
            return value
    return ""


def with_member(state: str, key: str, value: str) -> str:
    """`state` with `key` in front, its older value gone, within the standard's limits."""
    others = [part for part in (p.strip() for p in state.split(",")) if part and not part.startswith(key + "=")]
    kept = ",".join([f"{key}={value}", *others[: STATE_MEMBERS - 1]])
    while len(kept) > STATE_CHARACTERS:
        kept = kept.rpartition(",")[0]
    return kept


def format_traceparent(trace_id: int, span_id: int, flags: int) -> str:
    """The header for the next hop."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags & 1:02x}"


def parse_baggage(header: str) -> dict[str, str]:
    """Name to value; nothing at all when the header is over the limits, malformed members are left out."""
    if len(header) > BAGGAGE_BYTES or header.count(",") >= BAGGAGE_MEMBERS:
        count("firstcause.self.rejected_headers", header="baggage")
        return {}
    found: dict[str, str] = {}
    for part in header.split(","):
        name, equals, value = part.partition(";")[0].partition("=")
        if equals and _TOKEN.fullmatch(name.strip()):
            found[name.strip()] = unquote(value.strip())
        elif part.strip():
            count("firstcause.self.rejected_headers", header="baggage")
    return found


def format_baggage(items: Mapping[str, object]) -> str:
    """The header for the next hop, cut at the standard's limits."""
    parts = [f"{name}={quote(str(value), safe='')}" for name, value in items.items() if _TOKEN.fullmatch(name)]
    header = ",".join(parts[:BAGGAGE_MEMBERS])
    while len(header) > BAGGAGE_BYTES:
        header = header.rpartition(",")[0]
    return header
