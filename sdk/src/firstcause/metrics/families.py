"""What a scrape or a push says, in a shape of its own: families of points, before any format."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from .buckets import Exponential

COUNTER, GAUGE, UPDOWN, HISTOGRAM, INFO = "counter", "gauge", "updown", "histogram", "info"


@dataclass(slots=True)
class Exemplar:
    """One observed value and the trace it came from."""

    trace_id: int
    value: float
    at_ns: int
    span_id: int = 0


@dataclass(slots=True)
class Number:
    """One value of a counter or gauge; labels are attribute names of OpenTelemetry."""

    labels: dict[str, str]
    value: float


@dataclass(slots=True)
class Distribution:
    """One histogram: classic counts per edge (overflow last), exponential buckets, or both."""

    labels: dict[str, str]
    sum: float
    edges: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    exponential: Exponential | None = None
    exemplars: list[Exemplar] = field(default_factory=list)

    @property
    def count(self) -> int:
        """All values, as the classic counts say, or the exponential ones where there are no others."""
        return sum(self.counts) if self.counts or self.exponential is None else self.exponential.count


@dataclass(slots=True)
class Family:
    """All series of one instrument."""

    name: str
    unit: str
    kind: str
    description: str
    points: list[Number | Distribution]


# As Prometheus' OTLP receiver has them: other words would part the series of scrape and push.
_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius",
    "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}


@lru_cache(4096)
def prometheus_name(name: str, unit: str, kind: str) -> str:
    """The name that Prometheus' own OTLP receiver gives (`UnderscoreEscapingWithSuffixes`), without `_total`.

    Scrape and push give the same series because both follow these rules.
    """
    tokens = _tokens(name)
    main, _, per = unit.partition("/")
    for suffix in (_words(main, _UNITS), _per(per)):
        if suffix and suffix not in tokens:
            tokens.append(suffix)
    if kind == COUNTER:
        tokens = [token for token in tokens if token != "total"]  # noqa: S105
    if unit == "1" and kind == GAUGE:
        tokens = [*(token for token in tokens if token != "ratio"), "ratio"]  # noqa: S105
    found = "_".join(tokens)
    return "_" + found if found[:1].isdigit() else found


@lru_cache(4096)
def prometheus_label(name: str) -> str:
    """The label that Prometheus makes of an attribute's name."""
    found = "_".join(_tokens(name.replace(":", "_"), keep_ends=True))
    return "key_" + found if found[:1].isdigit() else found


def _tokens(text: str, *, keep_ends: bool = False) -> list[str]:
    spaced = "".join(c if c.isascii() and (c.isalnum() or c == ":") else " " for c in text)
    found = spaced.split()
    if keep_ends and found:
        found = [""] * spaced.startswith(" ") + found + [""] * spaced.endswith(" ")
    return found


def _words(unit: str, known: dict[str, str]) -> str:
    unit = unit.strip()
    return "" if "{" in unit or "}" in unit else "_".join(_tokens(known.get(unit, unit)))


def _per(unit: str) -> str:
    found = _words(unit, _PER)
    return f"per_{found}" if found else ""
