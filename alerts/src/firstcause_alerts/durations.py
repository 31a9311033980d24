"""Durations: OpenSLO's shorthand, Prometheus' text, and how both read."""

from __future__ import annotations

import re

UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 30 * 86_400, "Q": 90 * 86_400, "Y": 365 * 86_400}
"""OpenSLO leaves the length of a month open; for a rolling window 30 days are meant."""
_PARTS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def parse(text: str) -> int:
    """Seconds of `5m`, `6h`, `30d`. Raises ValueError."""
    found = re.fullmatch(r"([1-9]\d{0,5})([mhdwMQY])", text)
    if found is None:
        raise ValueError(text)
    return int(found[1]) * UNITS_S[found[2]]


def promql(seconds: float) -> str:
    """The duration as Prometheus reads it: `1h30m`, `2s500ms`; at least a millisecond."""
    # Prometheus refuses a range of 0.
    left = max(1, round(seconds * 1000))
    text = ""
    for unit, size in _PARTS:
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text


def window(seconds: float) -> str:
    """The name of a window in labels: the largest unit that fits, as people say it (`3d`, `6h`, `70s`)."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % size == 0 and seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:g}s"


def words(seconds: float) -> str:
    """For people: two significant parts, such as `52 s`, `4 min 56 s`, `2 h 5 min`."""
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    left, said = round(seconds, 1) if seconds < 10 else round(seconds), []
    for unit, size in units:
        count, left = divmod(left, size) if size > 1 else (left, 0)
        if count:
            said.append(f"{count:g} {unit}")
    return " ".join(said[:2]) or "0 s"
