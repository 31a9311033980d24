"""What the on-call person reads."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from firstcause_alerts.notification import render

ALERT = {
    "status": "firing", "labels": {"alertname": "SLOBurn", "slo": "checkout"}, "startsAt": "2026-11-24T03:00:00Z",
    "annotations": {
        "title": "Checkout: failing", "summary": "12 % of requests fail.", "runbook": "https://runbooks/SLOBurn.md",
        "causes": "58 % orders db.pool_exhausted via db_pool: held across a call\n30 % payments app.lock\n",
        "route": "/products/{sku} (80 % of the bad ones)", "p99": "2.1s",
    },
}  # fmt: skip
PAYLOAD: dict[str, Any] = {
    "status": "firing", "commonLabels": {"environment": "demo", "incident": "orders", "severity": "page"}, "alerts": [ALERT]
}  # fmt: skip


def test_a_page_reads_top_down() -> None:
    """Who and what, then causes, evidence, since when, links."""
    assert [
        "Page [demo] orders: Checkout: failing", "", "12 % of requests fail.",
        "  58 % orders db.pool_exhausted via db_pool: held across a call", "  30 % payments app.lock",
        "Route: /products/{sku} (80 % of the bad ones)", "p99: 2.1s", "Since: 2026-11-24T03:00:00Z",
        "Runbook: https://runbooks/SLOBurn.md",
    ] == render(PAYLOAD).splitlines()  # fmt: skip


def test_recovering_and_resolved_are_said_first() -> None:
    """The state of the whole group is the first word."""
    better = {**ALERT, "labels": {"alertname": "SLORecovering"}}
    assert render({**PAYLOAD, "alerts": [better, ALERT]}).startswith("Recovering [demo] orders: Checkout: failing")
    assert render({**PAYLOAD, "status": "resolved"}).startswith("Resolved [demo] orders")


def test_what_is_over_takes_no_blame_for_what_fires_now() -> None:
    """A new incident in the group of an old one: its own alert is the title and the only one shown."""
    old = {**ALERT, "status": "resolved", "annotations": {**ALERT["annotations"], "title": "Cart: failing"}}  # type: ignore[dict-item]
    said = render({**PAYLOAD, "alerts": [old, ALERT, old]})
    assert said.startswith("Page [demo] orders: Checkout: failing\n")
    assert 1 == said.count("Since: ")
    assert said.endswith("\n2 more are over")
    assert 2 == render({**PAYLOAD, "status": "resolved", "alerts": [old, old]}).count("Since: ")


@given(st.text(), st.text(min_size=0, max_size=50))
def test_hostile_values_are_defused_and_bounded(text: str, more: str) -> None:
    """No markup, escapes or template syntax, whatever the values; and never an exception."""
    value = text + '<!channel> "quoted" `x` {{ .Labels }} \x1b[31m\n' + more + "x" * 10_000
    alert = {
        "annotations": dict.fromkeys(("title", "summary", "causes", "route"), value),
        "labels": {"alertname": value},
    }
    said = render({"commonLabels": {"incident": value}, "alerts": [alert] * 9})
    assert not set('<>"`\x1b\r') & set(said)
    assert len(said) < 20_000


def test_an_empty_payload_is_no_error() -> None:
    """What a stranger posts is rendered too."""
    assert "Page" == render({})
    assert "Resolved" == render({"status": "resolved", "alerts": None})
