"""What the on-call person got, as the runner reads it: pages, their ends, and the cause they name."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from demo_app.alerting import Reader
from demo_app.judge import QUIET, Judge, place
from demo_app.receiver import Notice, Receiver, pages, unresolved
from demo_app.supervisor import objectives

CAUSES = "70 % payments db.slow via db_pool: SELECT 1\n20 % orders app.exception: KeyError\n10 % gateway unknown\n"


def notice(status: str, group: str = "g", kind: str = "page", *, better: bool = False, causes: str = CAUSES) -> Notice:
    """One notification, with a burning alert and perhaps one that says it is getting better."""
    names = ["SLOBurn", *(["SLORecovering"] if better else [])]
    alerts: list[dict[str, Any]] = [
        {"status": status, "labels": {"alertname": name, "severity": kind}, "annotations": {"title": "Checkout: failing", "summary": "9 % fail", "causes": causes}}
        for name in names
    ]  # fmt: skip
    common = {"severity": kind, "environment": "demo", "incident": "payments"}
    return Notice(0.0, kind, {"groupKey": group, "status": status, "commonLabels": common, "alerts": alerts})


def test_the_causes_are_read_from_the_text_in_its_order() -> None:
    """Service and cause of each line of the first alert, whatever follows them; none where nothing is said."""
    assert [("payments", "db.slow"), ("orders", "app.exception"), ("gateway", "unknown")] == notice("firing").causes
    assert 3 == len(notice("firing", better=True).causes)
    assert [] == notice("firing", causes="").causes


def test_a_page_is_one_until_it_is_resolved() -> None:
    """More of the same group is no other page; the group's return is, and another group, and a ticket never."""
    first, again = notice("firing"), notice("firing", better=True)
    assert [first] == pages([first, again, notice("resolved")])
    assert 2 == len(pages([first, notice("resolved"), again]))
    assert 2 == len(pages([first, notice("firing", "other")]))
    assert [] == pages([notice("firing", kind="ticket")])


def test_a_page_is_open_until_its_group_says_otherwise() -> None:
    """Each group is open by its last word."""
    assert {"g"} == unresolved([notice("resolved"), notice("firing"), notice("resolved", "other")])
    assert set() == unresolved([notice("firing"), notice("resolved"), notice("firing", kind="ticket")])


def test_a_page_is_read_in_full_when_it_begins() -> None:
    """Then its causes are shown; when it gets better or ends its summary; what repeats is its title."""
    lines: list[str] = []
    read = Reader(lambda text, _colour: lines.append(text))
    for one in (notice("firing"), notice("firing"), notice("firing", better=True), notice("resolved")):
        read(one)
    titles = [line.split("[")[0].strip(" |") for line in lines if "[demo]" in line]
    assert ["Page", "Page", "Recovering", "Resolved"] == titles
    assert 3 == sum("9 % fail" in line for line in lines)
    assert 1 == sum("db.slow" in line for line in lines)


def test_the_judge_wants_a_page_for_what_hurts_and_its_cause_in_front() -> None:
    """The quiet round and silent faults want none; of two faults at once either is right."""
    named = [("orders", "app.slow"), ("payments", "db.slow")]
    assert (True, 2) == place("payments_db", named)
    assert (True, 0) == place("payments_lock", named)
    assert (True, 1) == place("exception+payments_db", named[1:])
    assert (False, 0) == place(QUIET, named)
    assert (False, 0) == place("retry", named)


def test_the_judge_answers_both_questions_through_its_pipe() -> None:
    """What a page named, and what the requests said, in any order."""
    judge = Judge()
    try:
        assert (True, 1) == judge.place("payments_db", [("payments", "db.slow")])
        assert judge.ask(QUIET, 100, [])[0]
        assert (False, 0) == judge.place(QUIET, [])
    finally:
        judge.close()


def test_the_receiver_keeps_what_a_person_would_get(tmp_path: Path) -> None:
    """Each notification is stored as it came and told; heartbeats are only counted."""
    told: list[Notice] = []
    receiver = Receiver(tmp_path, told.append)
    try:
        for one in (notice("firing", kind="heartbeat"), notice("firing")):
            body = json.dumps(one.payload).encode()
            urllib.request.urlopen(f"{receiver.url}/{one.kind}", body, timeout=10).close()
    finally:
        receiver.close()
    assert ["heartbeat", "page"] == [one.kind for one in receiver.notices]
    assert ["page"] == [one.kind for one in told]
    assert [notice("firing").payload] == [json.loads(path.read_text()) for path in tmp_path.iterdir()]


@pytest.mark.parametrize("service", ["gateway", "orders", "payments"])
def test_services_are_held_to_the_limits_of_the_alert_rules(service: str) -> None:
    """Each has compiled objectives; the worker, which serves nobody, has none."""
    assert "s" == objectives(service)["FIRSTCAUSE_OBJECTIVES"][-1]
    assert {} == objectives("worker")
