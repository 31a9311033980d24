"""Which resource a CLIENT or PRODUCER span stands for, from its attributes at its *end*.

Many instrumentation libraries set attributes late, and none on unsampled spans: then only the
scope's name is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CACHES = ("redis", "memcached", "valkey")


def classify(attributes: Mapping[str, Any], scope: str) -> str:
    """`<kind>:<target>` by semantic conventions, stable names first, then the older ones."""
    get = attributes.get
    system = get("db.system.name") or get("db.system")
    if system:
        if system in CACHES:
            return f"cache:{system}"
        name = get("db.namespace") or get("db.name")
        return f"db:{system}/{name}" if name else f"db:{system}"
    topic = get("messaging.destination.name") or get("messaging.system")
    if topic:
        return f"queue:{topic}"
    host = get("peer.service") or get("server.address") or get("net.peer.name") or _host(get("url.full") or get("http.url"))
    if get("rpc.system"):
        return f"rpc:{host or get('rpc.service') or 'unknown'}"
    return f"http:{host}" if host else f"http:{scope.rpartition('.')[2] or 'unknown'}"


def _host(url: Any) -> str:
    if not isinstance(url, str):
        return ""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]
