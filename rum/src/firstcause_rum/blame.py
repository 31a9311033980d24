"""Where the time of a slow page view went: parts of the value that sum to it. Pure.

LCP has four sub-parts (web.dev/optimize-lcp): time to first byte, delay before the element's own load, its duration,
and the delay until it was drawn. Navigation phases split the first, script time the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST_MS = 0.001
"""Sub-parts that sum to less are none: browsers tell tenths, and of next to nothing no shares can be made."""
Parts = dict[str, float]
"""Milliseconds by `conventions.BLAMES`."""


def of_lcp(value: float, at: Mapping[str, Any], load: Mapping[str, Any], rtt: float) -> Parts:
    """Blame of a largest contentful paint; without attribution all of it is unknown."""
    sub = {name: at.get(name, 0.0) for name in ("ttfb", "delay", "dur", "rend")}
    if sum(sub.values()) < LEAST_MS:
        return {"unknown": value}
    network, server = _first_byte(sub["ttfb"], load, rtt)
    # The page itself has to arrive before its image can be asked for.
    arriving = min(sub["delay"], load.get("res", 0.0))
    parts = {"network": network, "server": server, "transfer": arriving + sub["dur"]}
    parts.update(_drawing(sub["delay"] - arriving + sub["rend"], at.get("own", 0.0), at.get("third", 0.0)))
    return scaled(parts, value)


def of_inp(value: float, at: Mapping[str, Any]) -> Parts:
    """Blame of an interaction to next paint: its longest script, and what the browser did besides."""
    if "ms" not in at:
        return {"unknown": value}
    own = at.get("own", 1)
    return _drawing(value, at["ms"] if own else 0.0, 0.0 if own else at["ms"])


def _first_byte(ttfb: float, load: Mapping[str, Any], rtt: float) -> tuple[float, float]:
    """Network and server in the time to first byte.

    A request needs one round trip beside the server's own time; connecting took one too, so that is how long it is.
    Where the connection was there already, what the browser estimates is all there is.
    """
    waited = min(ttfb, load.get("req", ttfb))
    trip = load.get("tcp", 0.0) or rtt
    server = max(0.0, waited - trip)
    return ttfb - server, server


def _drawing(time: float, own: float, third: float) -> Parts:
    """Script and rendering in a stretch of time that can hold no more script than it is long."""
    script = own + third
    fits = min(1.0, time / script) if script else 0.0
    return {
        "own_script": own * fits, "third_party_script": third * fits, "render": max(0.0, time - script * fits)
    }  # fmt: skip


def scaled(parts: Parts, value: float) -> Parts:
    """The parts, brought to sum to `value`; empty ones left out."""
    total = sum(parts.values())
    return {name: part * value / total for name, part in parts.items() if part > 0} if total else {"unknown": value}


def top(parts: Parts) -> str:
    """The largest part when it is at least half of all, else `unknown`: no dominant cause."""
    name = max(parts, key=lambda part: parts[part], default="unknown")
    return name if parts and parts[name] >= sum(parts.values()) / 2 else "unknown"
