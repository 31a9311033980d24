"""Beacons as a page sends them, and a core that takes them."""

from __future__ import annotations

import json
from typing import Any

from firstcause_rum import Config
from firstcause_rum.core import Core, Reply, Visit

HOST = "shop.example"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36"
HEAD = {
    "content-type": "text/plain;charset=UTF-8", "host": HOST, "origin": f"https://{HOST}", "sec-fetch-site": "same-origin",
    "user-agent": BROWSER,
}  # fmt: skip
VIEW, SESSION = "b" * 32, "a" * 32


def beacon(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A body of version 1; items without a time get one."""
    listed = [{"t": 100, **item} for item in items] or [{"k": "view", "t": 1}]
    head = {"v": 1, "ses": SESSION, "id": VIEW, "seq": 0, "sent": 3000.5, "url": f"https://{HOST}/cart", "nav": "navigate"}
    return {**head, **fields, "items": listed}


def vital(name: str, val: float, **more: Any) -> dict[str, Any]:
    """A vital's report."""
    return {"k": "vital", "name": name, "id": f"v-{name}", "val": val, **more}


LOAD = {"k": "load", "dns": 20, "tcp": 300, "tls": 310, "req": 400, "res": 50, "dom": 80, "load": 40, "size": 9000}
LCP = vital("LCP", 4000, at={"ttfb": 1030, "delay": 70, "dur": 1900, "rend": 1000, "own": 100, "third": 600})
ERROR = {"k": "err", "kind": "error", "type": "TypeError", "msg": "x is not a function", "stk": "at pay", "fp": "00000001"}
WORK = {"k": "work", "n": 2, "blk": 180, "max": 150, "scripts": [{"src": "https://tags.example/t.js", "own": 0, "ms": 120}]}
REQUEST = {"k": "req", "how": "fetch", "m": "GET", "url": "https://shop.example/api", "st": 200, "ms": 80}
EVERYTHING = (
    {"k": "view", "t": 1}, LOAD, LCP, vital("FCP", 1500), vital("TTFB", 1030), vital("INP", 90), vital("CLS", 0.02), ERROR,
    WORK, REQUEST,
)  # fmt: skip


def core(**settings: Any) -> Core:
    """An endpoint that counts at once."""
    return Core(Config(**{"settle_s": 0, "settle_late_s": 0, "count_tests": False, **settings}))


def admitted(endpoint: Core, head: dict[str, str] | None = None, peer: str = "127.0.0.1", **more: str) -> Visit:
    """The visit of a request whose head is let in."""
    found = endpoint.admit("POST", {**(HEAD if head is None else head), **more}, peer)
    assert isinstance(found, Visit), found
    return found


def send(endpoint: Core, body: Any, peer: str = "127.0.0.1", **head: str) -> Reply:
    """What is answered to a body; what it reports is settled."""
    found = endpoint.admit("POST", {**HEAD, **{k.replace("_", "-"): v for k, v in head.items()}}, peer)
    if isinstance(found, Reply):
        return found
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = endpoint.accept(found, raw)
    endpoint.settle()
    return reply
