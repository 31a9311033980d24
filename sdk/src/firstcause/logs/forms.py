"""Canonical lines that only numbers and ids are missing from.

Units of one route that ended the same way differ in a dozen numbers. What they share is made once, as JSON
and as OTLP; `canonical.Told` says the same at length, and a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import TYPE_CHECKING, Any

import orjson

from ..export.protobuf import counter_field, float_head, pair, sized, text_field, utf8

if TYPE_CHECKING:
    from ..diagnosis.unit import UnitReport

EVENTS = {"server": "request", "consumer": "message", "websocket": "websocket"}
CHANGING = frozenset(("duration_ms", "cpu_ms", "memory_mb", "in_flight", "request_id", "session_id", "user_hash"))
"""Facts of a unit's own; all others are the form's. Ids among them hold no character that JSON escapes."""
_TEXTS = frozenset(("request_id", "session_id", "user_hash"))
_double = Struct("<d").pack
_ids = Struct(">7sQQ2sQ").pack


class Form:
    """Units alike in route, status and outcome, in what they spent time on, and in who is known to have asked."""

    __slots__ = ("_begin", "_between", "_gauges", "_head", "_ids", "_more", "_shares", "_spent", "_tail")

    def __init__(self, service: str, number: int, severity: str, facts: Mapping[str, Any], like: UnitReport) -> None:
        event = EVENTS[like.kind]
        self._ids = [name for name in facts if name in _TEXTS]
        *between, end = _text(service, severity.lower(), event, facts, like).split(_GAP)
        more = self._ids[1:]  # beside the request's
        ids, self._spent = between[8 : 8 + len(more)], between[8 + len(more) :]
        self._between, self._more = (*between[:8], end), list(zip(ids, more, strict=True))
        said = [b"\x32" + pair(name, value) for name, value in facts.items() if name not in CHANGING]
        head = counter_field(b"\x10", number) + text_field(b"\x1a", severity)
        self._head = head + b"\x2a" + sized(text_field(b"\x0a", event)) + b"".join(said) + _WALL
        self._begin = Struct(f"<cQcQ{len(self._head)}sd{len(_CPU)}sd").pack
        self._tail = text_field(b"\x62", "firstcause." + event)
        self._shares = [b"\x32" + float_head("ledger." + resource) for resource in like.shares]
        self._gauges = (-1, -1, b"")

    def line(self, unit: UnitReport) -> bytes:
        """The unit's line, with its newline."""
        # Cut to microseconds first: then three decimals are all there are, as in what `Told` writes.
        wall, cpu, at = unit.wall_ns // 1000, unit.cpu_ns // 1000, (unit.started_ns + unit.wall_ns) // 1000
        micro = at % 1_000_000
        ids = (unit.trace_id << 64 | unit.span_id).to_bytes(24, "big").hex()
        rest = "".join([gap + getattr(unit, name) for gap, name in self._more]) if self._more else ""
        for gap, ns in zip(self._spent, unit.shares.values()):  # noqa: B905 - asking costs as much as the loop
            us = ns // 1000
            rest = f"{rest}{gap}{us // 1000}.{_THREE[us % 1000]}"
        ts, trace, span, duration, used, memory, flight, request, end = self._between
        return (
            f"{ts}{at // 1_000_000}.{_THREE[micro // 1000]}{_THREE[micro % 1000]}{trace}{ids[:32]}{span}{ids[32:]}"
            f"{duration}{wall // 1000}.{_THREE[wall % 1000]}{used}{cpu // 1000}.{_THREE[cpu % 1000]}"
            f"{memory}{unit.memory_bytes >> 20}{flight}{unit.in_flight}{request}{unit.request_id}{rest}{end}"
        ).encode()

    def record(self, unit: UnitReport) -> bytes:
        """A `LogRecord` message behind its length."""
        wall = unit.wall_ns
        at = unit.started_ns + wall
        memory, in_flight, gauges = self._gauges
        if memory != unit.memory_bytes or in_flight != unit.in_flight:
            gauges = self._gauged(unit)
        parts = [
            self._begin(
                b"\x09", at, b"\x59", at, self._head, wall // 1000 / 1000, _CPU, unit.cpu_ns // 1000 / 1000
            ),
            gauges,
        ]  # fmt: skip
        for name in self._ids:
            parts += (_id(name, getattr(unit, name)),)
        for head, ns in zip(self._shares, unit.shares.values()):  # noqa: B905
            parts += (head, _double(ns // 1000 / 1000))
        parts += (_trace(unit), self._tail)
        return sized(b"".join(parts))

    def _gauged(self, unit: UnitReport) -> bytes:
        """What neighbours mostly have in common, and kept for them."""
        pairs = pair("memory_mb", unit.memory_bytes >> 20), pair("in_flight", unit.in_flight)
        gauges = b"\x32" + b"\x32".join(pairs)
        self._gauges = (unit.memory_bytes, unit.in_flight, gauges)
        return gauges


def _trace(unit: UnitReport) -> bytes:
    """Flags and ids; what a unit has none of is left out."""
    trace, span = unit.trace_id, unit.span_id
    if unit.sampled and trace and span:
        return _ids(b"\x45\x01\x00\x00\x00\x4a\x10", trace >> 64, trace & _LOW64, b"\x52\x08", span)
    flags = b"\x45\x01\x00\x00\x00" if unit.sampled else b""
    of_trace = b"\x4a\x10" + trace.to_bytes(16, "big") if trace else b""
    return flags + of_trace + (b"\x52\x08" + span.to_bytes(8, "big") if span else b"")


def _text(service: str, level: str, event: str, facts: Mapping[str, Any], like: UnitReport) -> str:
    """The line with a gap for each number and id, in the order in which `Form.line` fills them."""
    said = "".join(f",{_json(n)}:{_gap(n) if n in CHANGING else _json(v)}" for n, v in facts.items())
    ledger = ",".join(f"{_json(resource)}:{_GAP}" for resource in like.shares)
    return (
        f'{{"ts":{_GAP},"level":{_json(level)},"event":{_json(event)},"service":{_json(service)},'
        f'"trace_id":"{_GAP}","span_id":"{_GAP}"{said},"ledger":{{{ledger}}}}}\n'
    )


def _gap(name: str) -> str:
    return f'"{_GAP}"' if name in _TEXTS else _GAP


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _id(name: str, value: str) -> bytes:
    """An id's pair: ids mostly have one length, so all before it is known."""
    head = _id_heads.get((name, len(value)))
    if head is None:
        whole = b"\x32" + pair(name, value)
        head = whole[: len(whole) - len(utf8(value))]
        if len(value) <= _LONGEST:
            _id_heads[name, len(value)] = head
    return head + utf8(value)


_GAP = "\0"
"""JSON escapes it, so that it is nowhere else."""
_THREE = tuple(f"{number:03d}" for number in range(1000))
_LONGEST = 128
_LOW64 = (1 << 64) - 1
_id_heads: dict[tuple[str, int], bytes] = {}
_WALL, _CPU = (b"\x32" + float_head(name) for name in ("duration_ms", "cpu_ms"))
