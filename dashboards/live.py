"""Asks the real Prometheus, Loki and Jaeger what the dashboards ask them, and counts what comes back."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from .queries import ANY, Asked, filled

TIMEOUT_S = 30.0


class RefusedError(RuntimeError):
    """A store refused a query; the message has its words."""


def prometheus(url: str, query: Asked, values: Mapping[str, str] = ANY, *, seconds: float = 60,
               step_s: float = 5) -> int:
    """How many series the query has: now, or over the last `seconds`, as the panel asks."""
    expr, now = filled(query.expr, values), time.time()
    if query.target.get("instant"):
        return len(_get(url, "/api/v1/query", query=expr, time=now)["data"]["result"])
    ranged = _get(url, "/api/v1/query_range", query=expr, start=now - seconds, end=now, step=step_s)
    return len(ranged["data"]["result"])


def loki(url: str, query: Asked, values: Mapping[str, str] = ANY, *, seconds: float = 300) -> int:
    """How many streams of lines the query has in the last `seconds`."""
    now = time.time_ns()
    expr = filled(query.expr, values)
    return len(
        _get(url, "/loki/api/v1/query_range", query=expr, start=now - int(seconds * 1e9), end=now)["data"]["result"]
    )


def jaeger(url: str, query: Asked, values: Mapping[str, str], *, seconds: float = 300) -> int:
    """How many traces the search finds in the last `seconds`; `values` must name one service."""
    now = time.time_ns() // 1000
    tags = dict(word.split("=", 1) for word in query.target["tags"].split())
    found = _get(
        url, "/api/traces", service=filled(query.target["service"], values), tags=json.dumps(tags),
        limit=query.target["limit"], start=now - int(seconds * 1e6), end=now,
    )  # fmt: skip
    return len(found["data"])


STORES: Mapping[str, Callable[..., int]] = {"prometheus": prometheus, "loki": loki, "jaeger": jaeger}
"""By data source."""


def _get(url: str, path: str, **parameters: Any) -> dict[str, Any]:
    address = f"{url}{path}?{urllib.parse.urlencode(parameters)}"
    try:
        # The caller names the store's address.
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as reply:  # noqa: S310
            found: dict[str, Any] = json.load(reply)
    except urllib.error.HTTPError as error:
        raise RefusedError(error.read().decode(errors="replace")[:500]) from error
    return found
