"""OTLP requests, as JSON, with specimens in every place that text can stand in."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from .specimens import planted

PLACES = ("span", "status", "event")
"""Where text stands that is no attribute; each also has a harmless one, `<place> planted`."""
TRACE, ROOT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
Specimens = Mapping[str, str]


def text(value: str) -> dict[str, Any]:
    """A text as OTLP's value."""
    return {"stringValue": value}


def attributes(values: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Texts as OTLP's attributes; headers are lists, as the conventions have it."""
    return [
        {"key": key, "value": {"arrayValue": {"values": [text(value)]}} if ".header." in key else text(value)}
        for key, value in values
    ]


def everything(texts: Specimens, keys: Specimens, harmless: Specimens) -> list[dict[str, Any]]:
    """All specimens as attributes of one thing: in values, by their keys, in a list, and in a map."""
    found = attributes((f"planted.{number}", planted(marked)) for number, marked in enumerate(texts.values()))
    found += attributes((key, planted(marked)) for key, marked in keys.items())
    found += attributes(harmless.items())
    listed = [text(planted(marked)) for marked in texts.values()]
    found.append({"key": "planted.list", "value": {"arrayValue": {"values": listed}}})
    found.append(
        {
            "key": "planted.map",
            "value": {"kvlistValue": {"values": attributes([("a", planted(next(iter(texts.values()))))])}},
        }
    )
    return found


def resource(texts: Specimens, keys: Specimens, harmless: Specimens) -> dict[str, Any]:
    """A service that says everything of itself."""
    named = attributes(
        [("service.name", "planted"), ("service.version", "1.0.0"), ("deployment.environment.name", "demo")]
    )
    return {"attributes": named + everything(texts, keys, harmless)}


def spans(texts: Specimens, keys: Specimens, harmless: Specimens, trace: str = TRACE) -> dict[str, Any]:
    """One span with everything, and one for each text with it as name, status, event and trace state."""
    now = time.time_ns()
    said = [*(planted(marked) for marked in texts.values()), ""]
    made = [
        {
            "traceId": trace, "spanId": f"{number + 1:016x}", "parentSpanId": "" if number == 0 else f"{1:016x}",
            "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 5_000_000), "kind": 2,
            "name": one or "span planted", "status": {"code": 2, "message": one or "status planted"},
            "traceState": "vendor=planted",
            "attributes": everything(texts, keys, harmless) if not one else [],
            "events": [{
                "timeUnixNano": str(now), "name": one or "event planted",
                "attributes": attributes([("exception.message", one)]) if one else everything(texts, keys, harmless),
            }],
        }
        for number, one in enumerate(reversed(said))
    ]  # fmt: skip
    return {"resourceSpans": [{"resource": resource(texts, keys, harmless), "scopeSpans": [{"spans": made}]}]}


def logs(texts: Specimens, keys: Specimens, harmless: Specimens, trace: str = TRACE) -> dict[str, Any]:
    """One record for each text with it as body, and one with a map as body and everything as attributes."""
    now = time.time_ns()
    records: list[dict[str, Any]] = [{"body": text(planted(marked))} for marked in texts.values()]
    body = {"kvlistValue": {"values": everything(texts, keys, harmless)}}
    records.append({"body": body, "attributes": everything(texts, keys, harmless)})
    for number, record in enumerate(records):
        at = str(now + number)  # of two lines that are the same once masked, a store would keep one
        record |= {
            "timeUnixNano": at,
            "observedTimeUnixNano": at,
            "severityNumber": 9,
            "traceId": trace,
            "spanId": ROOT,
        }
    return {"resourceLogs": [{"resource": resource(texts, keys, harmless), "scopeLogs": [{"logRecords": records}]}]}


def metrics(texts: Specimens, keys: Specimens, harmless: Specimens) -> dict[str, Any]:
    """A counter with everything as labels."""
    point = {"asInt": "1", "timeUnixNano": str(time.time_ns()), "attributes": everything(texts, keys, harmless)}
    counter = {"dataPoints": [point], "aggregationTemporality": 2, "isMonotonic": True}
    metric = {"name": "planted", "sum": counter}
    return {"resourceMetrics": [{"resource": resource(texts, keys, harmless), "scopeMetrics": [{"metrics": [metric]}]}]}
