"""Settings of the endpoint: one frozen object, validated whole, argument before environment before default."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from firstcause import ConfigError
from firstcause.conventions import VITALS

PREFIX = "FIRSTCAUSE_RUM_"
REGIONS = 25
ROUTES = 100
TIMED = ("LCP", "INP")
"""Vitals that make a page view slow."""


@dataclass(frozen=True)
class Config:
    """Every setting, in its final form; `FIRSTCAUSE_RUM_<NAME>` in the environment sets the one of that name."""

    path: str = "/_fc"
    """Where beacons arrive. A word that ad-blockers match (beacon, rum, collect, analytics, telemetry) loses views."""
    origins: tuple[str, ...] = ()
    """Further origins that may send, such as `https://shop.example`; the endpoint's own host always may."""
    trusted_networks: tuple[str, ...] = ()
    """Networks of our own proxies: only their `X-Forwarded-For` and `region_header` are believed."""
    region_header: str = ""
    """Header in which a trusted proxy says the country (`CF-IPCountry`); empty for none."""
    mmdb: str = ""
    """Path of an `.mmdb` file of countries; needs `firstcause-rum[geo]`, read anew when it changes."""
    regions: tuple[str, ...] = ()
    """At most 25 country codes that are regions of their own; all others are told apart by continent."""
    routes: tuple[str, ...] = ()
    """The routes there are, at most 100; empty learns them, at most 50 of them from views that are not joined."""
    address_rate: float = 20.0
    """Beacons per second from one network (/24, /48)."""
    address_burst: int = 100
    """How many of them at once."""
    total_rate: float = 2000.0
    """Beacons per second altogether, per process."""
    total_burst: int = 4000
    """How many of them at once."""
    addresses: int = 10_000
    """Networks whose rate is remembered."""
    views: int = 10_000
    """Page views remembered, so that later reports of one are told from new ones; about 1 KB each."""
    series: int = 4000
    """Histogram series; about 7 KB each. Beyond it new ones go to the route `other`."""
    settle_s: float = 10.0
    """How long after its last report a value of loading (LCP, FCP, TTFB) is counted, and any slow one blamed."""
    settle_late_s: float = 300.0
    """The same for values that grow while the page is used (INP, CLS)."""
    blame_s: float = 10.0
    """A slow value is blamed after so long at the latest: alert windows must be much longer than it."""
    read_s: float = 10.0
    """How long a body may take to arrive."""
    slow: Mapping[str, float] = field(default_factory=lambda: {"LCP": 2.5, "INP": 0.2})
    """Seconds beyond which LCP and INP make a page view slow; each an edge of its histogram. Environment: `LCP=2.5`."""
    count_tests: bool = False
    """Count visits of automated browsers like any other, as a demo wants."""
    script: str = ""
    """The built beacon, served at `path` + `.js`; empty takes the one that came along."""

    def __post_init__(self) -> None:
        problems = [said for name, fits, fix in _RULES if (said := _problem(name, getattr(self, name), fits, fix))]
        if problems:
            raise ConfigError(problems)

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **arguments: Any) -> Config:
        """Read and check everything; raises one `ConfigError` that lists every problem."""
        values, problems = _read(environ)
        values.update({name: value for name, value in arguments.items() if value is not None})
        known = {one.name for one in fields(cls)}
        problems += [_unknown(f"{name}=", name, known) for name in values if name not in known]
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in known}
        try:
            made = cls(**values)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)
        return made


def _read(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems = []
    for variable, text in environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or not text:
            continue
        if name not in _PARSERS:
            problems.append(_unknown(variable, variable, [PREFIX + known.upper() for known in _PARSERS]))
            continue
        parse, form = _PARSERS[name]
        try:
            values[name] = parse(text)
        except ValueError:
            problems.append(f"{variable}={text!r} cannot be read: use {form}")
    return values, problems


def _unknown(shown: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"{shown} is no setting: " + (f"did you mean {near[0]}?" if near else "remove it")


def _problem(name: str, value: Any, fits: Callable[[Any], bool], fix: str) -> str:
    try:
        good = fits(value)
    except (TypeError, ValueError, AttributeError):
        good = False
    return "" if good else f"{name}={value!r} cannot work: {fix}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _slow(text: str) -> dict[str, float]:
    pairs = (part.partition("=") for part in _names(text))
    return {name.strip(): float(value.removesuffix("s")) for name, _, value in pairs}


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(text)
    return text.lower() in ("true", "1")


_LIST, _WHOLE, _SECONDS = (_names, "values separated by commas"), (int, "a whole number"), (float, "a number")
_PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "path": (str, "a path"), "origins": _LIST, "trusted_networks": _LIST, "region_header": (str, "a header's name"),
    "mmdb": (str, "a path"), "regions": _LIST, "routes": _LIST, "address_rate": _SECONDS, "address_burst": _WHOLE,
    "total_rate": _SECONDS, "total_burst": _WHOLE, "addresses": _WHOLE, "views": _WHOLE, "series": _WHOLE,
    "settle_s": _SECONDS, "settle_late_s": _SECONDS, "blame_s": _SECONDS, "read_s": _SECONDS,
    "slow": (_slow, "LCP=2.5,INP=0.2"),
    "count_tests": (_flag, "true or false"), "script": (str, "a path"),
}  # fmt: skip


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, bool) and isinstance(value, (int, float)) and low <= value <= high


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and _number(low, high)(value)


def _is_origin(text: str) -> bool:
    parts = urlsplit(text)
    # Compared as text with what browsers send, which has no path and no slash at its end.
    return parts.scheme in ("http", "https") and bool(parts.hostname) and text == f"{parts.scheme}://{parts.netloc}"


def _is_network(text: str) -> bool:
    # Strict: 10.1.2.3/8 may be meant as one address, or as all of its network.
    return bool(ipaddress.ip_network(text, strict=True))


def _has_reader(path: str) -> bool:
    from importlib.util import find_spec

    return path == "" or (Path(path).is_file() and find_spec("maxminddb") is not None)


def _are_slow(slow: Mapping[str, float]) -> bool:
    return all(name in TIMED and seconds in VITALS[name] for name, seconds in slow.items())


_EDGES = "; ".join(f"{name} one of {', '.join(map(str, VITALS[name]))}" for name in TIMED)
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("path", lambda v: re.fullmatch(r"(/[\w.~-]+)+", v) is not None, "use a path such as /_fc"),
    ("origins", lambda v: all(map(_is_origin, v)), "use origins such as https://shop.example, without a path"),
    ("trusted_networks", lambda v: all(map(_is_network, v)), "use networks such as 10.0.0.0/8 or 192.0.2.7/32"),
    ("region_header", lambda v: re.fullmatch(r"[\w-]*", v) is not None, "use a header's name such as CF-IPCountry"),
    ("mmdb", _has_reader, "use the path of a file there is, and pip install 'firstcause-rum[geo]'"),
    (
        "regions", lambda v: len(v) <= REGIONS and all(re.fullmatch("[A-Z]{2}", code) for code in v),
        "use at most 25 country codes such as BR",
    ),
    (
        "routes", lambda v: len(v) <= ROUTES and all(r and len(r) <= 128 for r in v),
        "use at most 100 names of at most 128 characters",
    ),
    ("address_rate", _number(0.01, 1e6), "use 0.01 to 1000000 per second"),
    ("address_burst", _whole(1, 1_000_000), "use 1 to 1000000"),
    ("total_rate", _number(0.01, 1e6), "use 0.01 to 1000000 per second"),
    ("total_burst", _whole(1, 1_000_000), "use 1 to 1000000"),
    ("addresses", _whole(1, 1_000_000), "use 1 to 1000000"),
    ("views", _whole(1, 1_000_000), "use 1 to 1000000"),
    ("series", _whole(100, 8000), "use 100 to 8000"),
    ("settle_s", _number(0, 3600), "use 0 to 3600 seconds"),
    ("settle_late_s", _number(0, 3600), "use 0 to 3600 seconds"),
    ("blame_s", _number(0, 3600), "use 0 to 3600 seconds"),
    ("read_s", _number(0.1, 300), "use 0.1 to 300 seconds"),
    ("slow", _are_slow, f"use {_EDGES}"),
    ("script", lambda v: v == "" or Path(v).is_file(), "use the path of a file there is"),
)  # fmt: skip
