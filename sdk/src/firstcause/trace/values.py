"""Attribute values as OTLP can carry them, and how many of them; never raises on a host's object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time_ns
from typing import Any

from .._guard import count

SCALARS = frozenset((int, float, bool, bytes))
"""Types taken as they are; strings too, when they are short enough."""
_DEPTH = 4
_ITEMS = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one span may hold; the numbers are OpenTelemetry's, the value length is ours."""

    attributes: int = 128
    """`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`."""
    events: int = 128
    """`OTEL_SPAN_EVENT_COUNT_LIMIT`."""
    links: int = 128
    """`OTEL_SPAN_LINK_COUNT_LIMIT`."""
    event_attributes: int = 128
    """`OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`."""
    link_attributes: int = 128
    """`OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`."""
    value_characters: int = 4096
    """`OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`; an exception's stack has a limit of its own."""


def clean(value: Any, limits: Limits) -> Any:
    """The value in plain types, cut; None when it cannot be carried (`__str__` is never called)."""
    try:
        return _clean(value, limits.value_characters, _DEPTH)
    except Exception:  # noqa: BLE001 - whatever a host's object raises, the attribute is invalid
        return None


def _clean(value: Any, most: int, depth: int) -> Any:
    if isinstance(value, str):
        # The type's own: a subclass's `__str__` is the host's code, and may do anything.
        return str.__str__(value)[:most]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[:most])
    if depth and isinstance(value, Mapping):
        items = list(value.items())[:_ITEMS]
        return {str.__str__(k): _clean(v, most, depth - 1) for k, v in items if isinstance(k, str)}
    if depth and isinstance(value, Sequence):
        return tuple(_clean(item, most, depth - 1) for item in value[:_ITEMS])
    return None


def cleaned(attributes: Mapping[str, Any] | None, most: int, limits: Limits) -> dict[str, Any]:
    """The valid ones of `attributes`, at most `most`; the others are counted."""
    found: dict[str, Any] = {}
    if not attributes:
        return found
    try:
        items = list(attributes.items())
    except Exception:  # noqa: BLE001 - no mapping after all
        items = [("", None)]
    for key, value in items:
        plain = clean(value, limits)
        if plain is None or not isinstance(key, str) or not key:
            count("firstcause.self.dropped", signal="attributes", reason="invalid")
        elif len(found) >= most:
            count("firstcause.self.dropped", signal="attributes", reason="limit")
        else:
            found[key] = plain
    return found


def printed(value: object) -> str:
    """`str(value)`, whatever its `__str__` does."""
    if type(value) is str:
        return value
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - the host's object
        return "<unprintable>"


def nanoseconds(given: Any) -> int:
    """A time given by a caller, now when there is none or it is no time."""
    if type(given) is int and given > 0:
        return given
    if isinstance(given, (int, float)) and 0 < given < 1 << 63:
        return int(given)
    return time_ns()
