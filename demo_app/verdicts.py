"""What the requests say: the services' verdict counters, read from their `/metrics` before and after a round.

The gateway's requests are the users'. One that gave up on a service before it could say anything is
`dependency.slow` there, and stands for what that service's own requests say meanwhile.
"""

from __future__ import annotations

import contextlib
import urllib.request
from collections import Counter
from collections.abc import Mapping
from typing import Any

BAD = "firstcause_request_bad_total"
EXCESS = "firstcause_request_excess_seconds_total"
DETAIL = "firstcause_cause_detail"
DEGRADED = "degraded"
"""The outcome of a request within its own objective: outside `bad`, and so outside the sums here."""
Key = tuple[str, str, str]
"""Service, cause, via."""


HOPS = 3
"""How far downstream an unexplained dependency is followed."""
Row = dict[str, Any]
Details = dict[tuple[str, str], str]


class Counts(Counter[Key]):
    """Bad requests by verdict, and the seconds they took beyond the usual; apart, those of degraded ones."""

    def __init__(self) -> None:
        super().__init__()
        self.excess: dict[Key, float] = {}
        self.degraded: dict[Key, float] = {}


Reading = dict[str, tuple[Counts, Details]]
"""By service: its counts, and the latest detail per culprit and cause."""


def read_all(ports: Mapping[str, int]) -> Reading:
    """Every service that answers now."""
    found: Reading = {}
    for service, port in ports.items():
        with contextlib.suppress(OSError):
            found[service] = read(f"http://127.0.0.1:{port}/metrics")
    return found


def between(before: Reading, after: Reading, edge: str) -> list[Row]:
    """What the users' requests at `edge` said of a round, dependencies resolved, most frequent first."""
    nothing: tuple[Counts, Details] = (Counts(), {})
    own = {
        # A service behind the edge may make it slow within its own objective: its degraded requests count too.
        service: since(before.get(service, nothing)[0], *after[service], degraded=service != edge) for service in after
    }
    return sorted(resolved(own.get(edge, []), own), key=lambda row: (-float(row["count"]), -float(row["excess"])))


def resolved(rows: list[Row], own: Mapping[str, list[Row]]) -> list[Row]:
    """Unexplained dependencies replaced by what they say of themselves, in proportion to its seconds."""
    for _hop in range(HOPS):
        found: dict[Key, Row] = {}
        for row in rows:
            for part in _parts(row, own.get(row["service"], [])):
                key = (part["service"], part["cause"], part["via"])
                kept = found.setdefault(key, {**part, "count": 0, "excess": 0})
                kept["count"] += part["count"]
                kept["excess"] += part["excess"]
        rows = list(found.values())
    return rows


def _parts(row: Row, said: list[Row]) -> list[Row]:
    total = sum(part["excess"] for part in said)
    # Whoever says nothing of itself keeps the blame: a service without instrumentation, or one that was fine.
    if not row["cause"].startswith("dependency.") or not total:
        return [row]
    shares = [(part, part["excess"] / total) for part in said]
    return [{**part, "count": row["count"] * share, "excess": row["excess"] * share} for part, share in shares]


def read(url: str) -> tuple[Counts, Details]:
    """Bad requests by verdict since the service began, and the latest detail per service and cause."""
    return parse(text_of(url))


def text_of(url: str) -> str:
    """What a service says at `/metrics`."""
    with urllib.request.urlopen(url, timeout=20) as reply:
        return str(reply.read().decode())


def parse(text: str, route: str = "") -> tuple[Counts, Details]:
    """The same from the text of `/metrics`, of one route if that is given."""
    from prometheus_client.parser import text_string_to_metric_families

    bad = Counts()
    details: Details = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == DETAIL:
                details[labels["culprit_service"], labels["cause"]] = labels["detail"]
            elif sample.name in (BAD, EXCESS) and route in ("", labels.get("http_route")):
                key = (labels["culprit_service"], labels["cause"], labels["via"])
                seconds = bad.degraded if labels["outcome"] == DEGRADED else bad.excess
                if sample.name == EXCESS:
                    seconds[key] = seconds.get(key, 0.0) + sample.value
                elif labels["outcome"] != DEGRADED:
                    bad[key] += int(sample.value)
    return bad, details


def since(before: Counts, after: Counts, details: Details, *, degraded: bool = False) -> list[Row]:
    """One service's verdicts of a round, most frequent first; `excess` in seconds, of `degraded` requests too."""
    found = []
    for key in {*after, *after.excess, *(after.degraded if degraded else ())}:
        count = after[key] - before[key]
        excess = after.excess.get(key, 0.0) - before.excess.get(key, 0.0)
        if degraded:
            excess += after.degraded.get(key, 0.0) - before.degraded.get(key, 0.0)
        if count > 0 or excess > 0:
            service, cause, via = key
            found.append(
                {"service": service, "cause": cause, "via": via, "count": count, "excess": round(excess, 3),
                 "detail": details.get((service, cause), "")}
            )  # fmt: skip
    return sorted(found, key=lambda row: (-int(row["count"]), -float(row["excess"])))
