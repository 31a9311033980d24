"""What the requests said of themselves: the verdict counters of the gateway, from its `/metrics`."""

from __future__ import annotations

import urllib.request
from collections import Counter
from typing import Any

BAD = "firstcause_request_bad_total"
DETAIL = "firstcause_cause_detail"
Key = tuple[str, str, str]
"""Service, cause, via."""


def read(url: str) -> tuple[Counter[Key], dict[tuple[str, str], str]]:
    """Bad requests by verdict since the service began, and the latest detail per service and cause."""
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(url, timeout=20) as reply:
        text = reply.read().decode()
    bad: Counter[Key] = Counter()
    details: dict[tuple[str, str], str] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == BAD:
                bad[labels["culprit_service"], labels["cause"], labels["via"]] += int(sample.value)
            elif sample.name == DETAIL:
                details[labels["culprit_service"], labels["cause"]] = labels["detail"]
    return bad, details


def since(before: Counter[Key], after: Counter[Key], details: dict[tuple[str, str], str]) -> list[dict[str, Any]]:
    """The verdicts of a round, most frequent first."""
    found = [
        {"service": s, "cause": c, "via": v, "count": n - before[s, c, v], "detail": details.get((s, c), "")}
        for (s, c, v), n in after.items()
        if n > before[s, c, v]
    ]
    return sorted(found, key=lambda row: -int(row["count"]))
