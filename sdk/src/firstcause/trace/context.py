"""W3C trace context and baggage, and request ids: strict in, standard out.

Malformed or enormous headers give the defaults and are counted, never an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from random import Random
from urllib.parse import quote, unquote

from .._guard import count

Remote = tuple[int, int, int, str]
"""A caller's context: trace id, span id, flags, tracestate."""

# What W3C names as limits: w3.org/TR/trace-context/#tracestate-limits and w3.org/TR/baggage/#limits.
STATE_CHARACTERS = 512
STATE_MEMBERS = 32
BAGGAGE_BYTES = 8192
BAGGAGE_MEMBERS = 64
REQUEST_ID_CHARACTERS = 128
_PARENT_CHARACTERS = 512
"""A later version may append to `traceparent`; beyond this it is refused unread."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
# Not the global one: a host that seeds it, for tests or simulations, would repeat ids.
_random = Random(os.urandom(16))
_bits = _random.getrandbits
# A forked child would repeat its parent's ids.
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(16)))


def new_trace_id() -> int:
    """A random, non-zero 128-bit id."""
    return _bits(128) or 1


def new_span_id() -> int:
    """A random, non-zero 64-bit id."""
    return _bits(64) or 1


def new_request_id() -> str:
    """A request id of our own: 32 hexadecimal digits."""
    return hexadecimal(_bits(128))


def hexadecimal(number: int) -> str:
    """The 32 digits of a number of 128 bits, at half the price of formatting it."""
    return number.to_bytes(16, "big").hex()


def valid_request_id(raw: bytes) -> str:
    """`raw` as text when it matches `[A-Za-z0-9._-]{1,128}`, else ""."""
    if _REQUEST_ID.fullmatch(raw) is not None:
        return raw.decode("ascii")
    count("firstcause.self.rejected_headers", header="x-request-id")
    return ""


def parse_traceparent(header: str, state: str = "") -> Remote | None:
    """The caller's context, None when the header is malformed (version 00; later versions may append)."""
    found = _TRACEPARENT.fullmatch(header) if len(header) <= _PARENT_CHARACTERS else None
    if found is not None:
        version, trace_hex, span_hex, flags, more = found.groups()
        trace_id, span_id = int(trace_hex, 16), int(span_hex, 16)
        if trace_id and span_id and ((version == "00" and more is None) or "00" < version < "ff"):
            return trace_id, span_id, int(flags, 16), valid_state(state) if state else ""
    count("firstcause.self.rejected_headers", header="traceparent")
    return None


def valid_state(state: str) -> str:
    """`state` when it is within the standard's limits and printable, else ""."""
    if len(state) <= STATE_CHARACTERS and state.count(",") < STATE_MEMBERS and _printable(state):
        return state
    count("firstcause.self.rejected_headers", header="tracestate")
    return ""


def _printable(state: str) -> bool:
    # The standard allows tabs between members; Python does not count them as printable.
    return state.isascii() and (state.isprintable() or state.replace("\t", " ").isprintable())


def member(state: str, key: str) -> str:
    """The value of one tracestate member, "" without it."""
    for part in state.split(","):
        name, _, value = part.strip().partition("=")
        if name == key:
            return value
    return ""


def _members(state: str, key: str) -> list[str]:
    """All members but `key`'s, in order."""
    stripped = (part.strip() for part in state.split(","))
    return [part for part in stripped if part and not part.startswith(key + "=")]


def without(state: str, key: str) -> str:
    """`state` without `key`'s member; unchanged when it has none."""
    return ",".join(_members(state, key)) if key + "=" in state else state


def with_member(state: str, key: str, value: str) -> str:
    """`state` with `key` in front, its older value gone, cut from the end to the standard's limits."""
    if not state:
        return f"{key}={value}"
    parts = [f"{key}={value}", *_members(state, key)[: STATE_MEMBERS - 1]]
    while len(parts) > 1 and sum(map(len, parts)) + len(parts) - 1 > STATE_CHARACTERS:
        parts.pop()
    return ",".join(parts)


def format_traceparent(trace_id: int, span_id: int, flags: int) -> str:
    """The header for the next hop; of `flags`, sampled (1) and random id (2) are passed on."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags & 3:02x}"


def parse_baggage(header: str) -> dict[str, str]:
    """Name to value; nothing at all when the header is over the limits, malformed members are left out."""
    if len(header) > BAGGAGE_BYTES or header.count(",") >= BAGGAGE_MEMBERS:
        count("firstcause.self.rejected_headers", header="baggage")
        return {}
    found: dict[str, str] = {}
    for part in header.split(","):
        name, equals, value = part.partition(";")[0].partition("=")
        name = name.strip()
        if equals and _TOKEN.fullmatch(name):
            found[name] = unquote(value.strip())
        elif part.strip():
            count("firstcause.self.rejected_headers", header="baggage")
    return found


def format_baggage(items: Mapping[str, object]) -> str:
    """The header for the next hop; what does not fit the standard's limits is left out and counted."""
    parts: list[str] = []
    size = -1
    for name, value in items.items():
        part = _baggage_member(name, value)
        if part is None or len(parts) == BAGGAGE_MEMBERS or size + 1 + len(part) > BAGGAGE_BYTES:
            count("firstcause.self.dropped", signal="baggage", reason="invalid" if part is None else "limit")
        else:
            parts.append(part)
            size += 1 + len(part)
    return ",".join(parts)


def _baggage_member(name: object, value: object) -> str | None:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a value of the host's that cannot be printed
        return None
    if not isinstance(name, str) or len(text) > BAGGAGE_BYTES or _TOKEN.fullmatch(name) is None:
        return None
    return f"{name}={quote(text, safe='', errors='replace')}"
