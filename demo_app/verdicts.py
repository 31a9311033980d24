"""What the requests say: the gateway's verdict counters, read from its `/metrics` before and after a round."""

from __future__ import annotations

import urllib.request
from collections import Counter
from typing import Any

BAD = "firstcause_request_bad_total"
EXCESS = "firstcause_request_excess_seconds_total"
DETAIL = "firstcause_cause_detail"
DEGRADED = "degraded"
"""The outcome of a request within its own objective: outside `bad`, and so outside the sums here."""
Key = tuple[str, str, str]
"""Service, cause, via."""


class Counts(Counter[Key]):
    """Bad requests by verdict, and the seconds they took beyond the usual."""

    def __init__(self) -> None:
        super().__init__()
        self.excess: dict[Key, float] = {}


def read(url: str) -> tuple[Counts, dict[tuple[str, str], str]]:
    """Bad requests by verdict since the service began, and the latest detail per service and cause."""
    with urllib.request.urlopen(url, timeout=20) as reply:
        return parse(reply.read().decode())


def parse(text: str) -> tuple[Counts, dict[tuple[str, str], str]]:
    """The same from the text of `/metrics`."""
    from prometheus_client.parser import text_string_to_metric_families

    bad, details = Counts(), {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == DETAIL:
                details[labels["culprit_service"], labels["cause"]] = labels["detail"]
            elif sample.name in (BAD, EXCESS) and labels["outcome"] != DEGRADED:
                key = (labels["culprit_service"], labels["cause"], labels["via"])
                if sample.name == BAD:
                    bad[key] += int(sample.value)
                else:
                    bad.excess[key] = bad.excess.get(key, 0.0) + sample.value
    return bad, details


def since(before: Counts, after: Counts, details: dict[tuple[str, str], str]) -> list[dict[str, Any]]:
    """The verdicts of a round, most frequent first; `excess` in seconds."""
    found = []
    for key in {*after, *after.excess}:
        count = after[key] - before[key]
        excess = after.excess.get(key, 0.0) - before.excess.get(key, 0.0)
        if count > 0 or excess > 0:
            service, cause, via = key
            found.append(
                {"service": service, "cause": cause, "via": via, "count": count, "excess": round(excess, 3),
                 "detail": details.get((service, cause), "")}
            )  # fmt: skip
    return sorted(found, key=lambda row: (-int(row["count"]), -float(row["excess"])))
