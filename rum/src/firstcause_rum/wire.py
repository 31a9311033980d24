"""The wire format, version 1 (`rum/WIRE.md`): what each field may be. Pure: it never raises but `Refused`.

What the page must say and does not is refused; what it may say and says wrongly is dropped and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .body import BAD, Refused

VERSION, MOST_ITEMS = 1, 100
HOUR_MS = 3_600_000
LATEST_MS = 2.6e9
"""Thirty days: the longest that a page is believed to have been open."""
AHEAD_MS = 1000
SCRIPTS = 10
LOST = frozenset(("impossible", "full", "unsent", "noise", "broken"))
NAVIGATIONS = frozenset(
    ("navigate", "reload", "back-forward", "back-forward-cache", "prerender", "restore", "soft-navigation")
)  # fmt: skip

Item = dict[str, Any]
Reader = Callable[[Any], Any]
"""The value when it may be so, else None."""
Fields = Mapping[str, Reader]


@dataclass(slots=True)
class Body:
    """One beacon, checked: `fields` and every item hold known keys with possible values only."""

    session: str
    view: str
    seq: int
    sent: float
    url: str
    navigation: str
    fields: Item
    items: list[Item] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def _text(most: int) -> Reader:
    return lambda value: value if type(value) is str and len(value) <= most else None


def _match(pattern: str) -> Reader:
    fits = re.compile(pattern).fullmatch
    return lambda value: value if type(value) is str and fits(value) else None


def _among(*known: str) -> Reader:
    return lambda value: value if type(value) is str and value in known else None


def _number(low: float, high: float) -> Reader:
    # By exact type: to `isinstance` a `true` is an int as well.
    return lambda value: value if (type(value) is int or type(value) is float) and low <= value <= high else None


def _whole(low: int, high: int) -> Reader:
    return lambda value: value if type(value) is int and low <= value <= high else None


_ms, _flag, _short, _long = _number(0, HOUR_MS), _whole(0, 1), _text(200), _text(500)
_state = _among("loading", "dom-interactive", "dom-content-loaded", "complete")
_hex32, _hex16 = _match("[0-9a-f]{32}"), _match("[0-9a-f]{16}")
_score = _number(0, 100)


def _object(value: Any) -> Any:
    return value if type(value) is dict else None


def _list(value: Any) -> Any:
    return value if type(value) is list else None


REQUIRED: Fields = {
    "ses": _hex32, "id": _hex32, "seq": _whole(0, 9999), "sent": _number(0, LATEST_MS), "url": _long, "nav": _text(32),
}  # fmt: skip
OPTIONAL: Fields = {
    "app": _match(r"[A-Za-z0-9_.-]{1,64}"), "rel": _text(64), "route": _text(128),
    "dev": _among("mobile", "tablet", "desktop"), "net": _among("slow-2g", "2g", "3g", "4g"), "rtt": _number(0, 60_000),
    "tz": _text(64), "hid": _flag, "wd": _flag, "tp": _match("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"),
    "mark": _match(r"[0-9]{1,12}\.[0-9a-f]{16}"),
}  # fmt: skip
ATTRIBUTION: dict[str, Fields] = {
    "LCP": {
        **dict.fromkeys(("ttfb", "delay", "dur", "rend", "own", "third"), _ms), "el": _short, "url": _short,
    },
    "INP": {
        **dict.fromkeys(("in", "proc", "pres", "ms"), _ms), "el": _short, "type": _among("pointer", "keyboard"),
        "state": _state, "src": _short, "own": _flag, "fn": _short,
    },
    "CLS": {"el": _short, "max": _score, "when": _number(0, LATEST_MS), "state": _state},
    "FCP": {"ttfb": _ms, "rend": _ms, "state": _state},
    "TTFB": dict.fromkeys(("wait", "cache", "dns", "conn", "req"), _ms),
}  # fmt: skip
_SCRIPT: Fields = {"src": _long, "own": _flag, "ms": _ms, "n": _whole(0, 1_000_000), "fn": _short}
ITEMS: dict[str, tuple[Fields, tuple[str, ...]]] = {
    "view": ({}, ()),
    "vital": (
        {"name": _among(*ATTRIBUTION), "id": _text(64), "val": _ms, "dlt": _number(-HOUR_MS, HOUR_MS), "at": _object},
        ("name", "id", "val"),
    ),
    "load": (
        {
            **dict.fromkeys(("dns", "tcp", "tls", "req", "res", "dom", "load", "red"), _ms),
            "size": _number(0, 2**40), "proto": _text(16),
        }, (),
    ),
    "work": (
        {"n": _whole(0, 1_000_000), "blk": _ms, "max": _ms, "lt": _flag, "scripts": _list}, ("blk",),
    ),
    "err": (
        {
            "kind": _among("error", "rejection", "script"), "type": _text(128), "msg": _long, "stk": _text(3000),
            "src": _long, "ln": _whole(0, 2**31), "col": _whole(0, 2**31), "n": _whole(1, 1_000_000),
            "fp": _match("[0-9a-f]{8}"),
        }, ("kind", "fp"),
    ),
    "req": (
        {
            "how": _among("fetch", "xhr"), "m": _match("[A-Za-z]{1,16}"), "url": _long, "st": _whole(0, 599),
            "ms": _ms, "tid": _hex32, "sid": _hex16,
        }, ("ms", "st"),
    ),
}  # fmt: skip
"""Kind of item to its fields, and to those without which it says nothing."""
_FRAME = ("k", "t")
_HEAD = frozenset((*REQUIRED, *OPTIONAL, "v", "lost", "items"))


def read(found: Mapping[str, Any]) -> Body:
    """Check one beacon."""
    if found.get("v") != VERSION or type(found["v"]) is not int:
        raise Refused(BAD, "version")
    items = found.get("items")
    if type(items) is not list or not 0 < len(items) <= MOST_ITEMS:
        raise Refused(BAD, "items")
    head = {name: reader(found.get(name)) for name, reader in REQUIRED.items()}
    if None in head.values():
        raise Refused(BAD, "field")
    dropped: Counter[str] = Counter()
    optional = {name: value for name, value in found.items() if name in OPTIONAL}
    body = Body(
        head["ses"], head["id"], head["seq"], head["sent"], head["url"],
        head["nav"] if head["nav"] in NAVIGATIONS else "other", _fields(optional, OPTIONAL, dropped), dropped=dropped,
    )  # fmt: skip
    unknown = sum(1 for name in found if name not in _HEAD)
    if unknown:
        dropped["unknown"] += unknown
    _lost(found.get("lost"), dropped)
    body.items = [item for raw in items if (item := _item(raw, body.sent, dropped)) is not None]
    return body


def _lost(given: Any, dropped: Counter[str]) -> None:
    """What the page itself dropped."""
    if type(given) is dict:
        for reason, n in given.items():
            if reason in LOST and type(n) is int and 0 < n <= 1_000_000:
                dropped["page_" + reason] += n


def _item(raw: Any, sent: float, dropped: Counter[str]) -> Item | None:
    kind = raw.get("k") if type(raw) is dict else None
    if type(kind) is not str or kind not in ITEMS:
        dropped["unknown" if type(kind) is str else "invalid"] += 1
        return None
    at = raw.get("t")
    if (type(at) is not int and type(at) is not float) or not 0 <= at <= sent + AHEAD_MS:
        dropped["impossible"] += 1
        return None
    fields, needed = ITEMS[kind]
    item = _fields(raw, fields, dropped)
    if not all(name in item for name in needed) or not _possible(item, dropped):
        dropped["incomplete"] += 1
        return None
    item["k"], item["t"] = kind, at
    return item


def _fields(raw: Mapping[str, Any], fields: Fields, dropped: Counter[str]) -> Item:
    """The known fields with possible values; `k` and `t` are the caller's."""
    item: Item = {}
    for name, value in raw.items():
        reader = fields.get(name)
        if reader is not None:
            found = reader(value)
            if found is not None:
                item[name] = found
            else:
                dropped["impossible" if type(value) in (int, float) else "invalid"] += 1
        elif name not in _FRAME:
            dropped["unknown"] += 1
    return item


def _possible(item: Item, dropped: Counter[str]) -> bool:
    """Check what depends on other fields: a score's range, a vital's attribution, the scripts of a frame."""
    if item.get("name") == "CLS" and item["val"] > 100:
        return False
    if "at" in item:
        item["at"] = _fields(item["at"], ATTRIBUTION[item["name"]], dropped)
    if "scripts" in item:
        given = item["scripts"]
        if len(given) > SCRIPTS:
            dropped["full"] += len(given) - SCRIPTS
        item["scripts"] = [_fields(one, _SCRIPT, dropped) for one in given[:SCRIPTS] if type(one) is dict]
    return True
