"""Our server span and metric are those of the standard libraries, apart from what the table below says.

The oracles are opentelemetry-instrumentation-fastapi (with the stable names) and FastAPI's own telemetry, each on the
standard SDK; asked by a real client under a real uvicorn. Where the two differ from each other, one row is needed at
least; ours follow the semantic conventions then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROGRAM = Path(__file__).with_name("conformance_app.py")
ROOT = Path(__file__).resolve().parents[3]
ENGINES = {
    ("firstcause", "native"): "N", ("firstcause", "contrib"): "C", ("on native", "native"): "n", ("on contrib", "contrib"): "c",
}  # fmt: skip
"""(Ours, its oracle) to its letter in the table: `on …` is engine="opentelemetry" with that library inside."""


class Row(NamedTuple):
    """A difference that is meant: of which comparisons, in which cases (empty: any), and why."""

    field: str
    comparisons: str
    cases: tuple[str, ...]
    why: str


FAILED = ("503 by HTTPException", "500 by an exception", "500 returned")
MOUNTED = ("mounted", "mounted 404")
DELIBERATE = (
    Row("network.protocol.name", "Cc", ("websocket",), "native says websocket, contrib nothing"),
    Row("client.address", "Nn", (), "recommended; native leaves it out, contrib has it"),
    Row("client.port", "C", (), "opt-in by the conventions, and different in every request"),
    Row("user_agent.original", "Nn", ("agent", "robot"), "recommended; native leaves it out, contrib has it"),
    Row("user_agent.synthetic.type", "C", ("robot",), "not stable yet"),
    Row("server.address", "C", (), "the Host header's name; contrib says where the socket is bound, port included"),
    Row("server.port", "C", ("host", "host without port"), "the Host header's port, as native has it"),
    Row("url.query", "NCnc", ("query", "422"), "no value leaves: oracles redact a few names only, or none"),
    Row("http.request.method", "C", ("lower-case method",), "methods are case-sensitive, as native has it"),
    Row("metric http_request_method", "Cc", ("lower-case method",), "the same"),
    Row("name", "Cc", ("lower-case method",), "the same"),
    Row("error.type", "Cc", ("500 by an exception",), "the exception's type, as native has it; contrib says 500"),
    Row("events", "C", ("500 by an exception",), "exceptions are on the canonical line; span events are going away"),
    Row("http.route", "Cc", MOUNTED, "the whole template; contrib stops at the mount"),
    Row("metric http_route", "Cc", MOUNTED, "the same"),
    Row("name", "Cc", MOUNTED, "the same"),
    Row("http.route", "N", ("redirect",), "no route has run; native guesses the one that will"),
    Row("metric http_route", "Nn", ("redirect",), "the same"),
    Row("name", "N", ("redirect",), "the same"),
    Row("name", "Cc", ("websocket",), "WS is native's word; HTTP is contrib's for a scope without a method"),
    Row("http.response.status_code", "C", ("websocket",), "contrib says 200 for each message sent"),
    Row("url.path", "Nn", ("websocket",), "recommended; contrib has it"),
    Row("network.protocol.version", "Nn", ("websocket",), "of the handshake; contrib has it"),
)
"""Every difference, with its reason; a row that no longer holds fails as well."""
OPEN = (
    Row("metric url_scheme", "NCnc", (), "to be added to the series"),
    Row("metric network_protocol_version", "NCnc", (), "to be added to the series"),
    Row("metric error_type", "NCnc", FAILED, "to be added to the series"),
)
"""Differences that are not meant; each wants to be struck out."""


@pytest.fixture(name="told", scope="module")
def _told() -> dict[str, Any]:
    """What each engine told of every case."""
    engines = sorted({engine for pair in ENGINES for engine in pair})
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(engines, pool.map(ask, engines), strict=True))


def ask(engine: str) -> Any:
    """The whole list of requests under one engine, in a process of its own."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "sdk/src")}
    made = subprocess.run([sys.executable, str(PROGRAM), engine], env=environ, capture_output=True, timeout=60)
    assert made.returncode == 0, made.stderr.decode()
    return json.loads(made.stdout)


def flat(case: dict[str, Any]) -> dict[str, Any]:
    """A case's server span and series as one mapping; what we add under our own name is left out."""
    servers = [span for span in case["spans"] if span["kind"] == "SERVER"]
    found: dict[str, Any] = {"server spans": len(servers), "series": len(case["metrics"])}
    for span in servers:
        found |= {name: span[name] for name in ("name", "status", "events", "parent")}
        found |= {name: value for name, value in span["attributes"].items() if not name.startswith("firstcause.")}
    for series in case["metrics"]:
        found |= {f"metric {label}": value for label, value in series.items()}
    return found


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> set[tuple[str, str]]:
    """(Field, case) wherever the two differ."""
    found = set()
    for case, their in theirs.items():
        left, right = flat(ours[case]), flat(their)
        found |= {(field, case) for field in {*left, *right} if left.get(field) != right.get(field)}
    return found


def allowed(field: str, case: str, letter: str) -> list[Row]:
    """The rows that a difference falls under."""
    rows = [row for row in (*DELIBERATE, *OPEN) if row.field == field and letter in row.comparisons]
    return [row for row in rows if not row.cases or case in row.cases]


@pytest.mark.parametrize(("pair", "letter"), ENGINES.items())
def test_both_engines_tell_what_the_standard_library_tells(
    pair: tuple[str, str], letter: str, told: dict[str, Any]
) -> None:
    """Names, kinds, statuses, parents, attributes and series are equal, or the table says why not."""
    found = differences(told[pair[0]], told[pair[1]])
    unexplained = {
        (field, case): (flat(told[pair[0]][case]).get(field), flat(told[pair[1]][case]).get(field))
        for field, case in found
        if not allowed(field, case, letter)
    }
    assert {} == unexplained


def test_every_row_of_the_table_still_holds(told: dict[str, Any]) -> None:
    """A difference that is gone has to be struck out, or it would hide the next one."""
    found = {
        (field, case, letter)
        for pair, letter in ENGINES.items()
        for field, case in differences(told[pair[0]], told[pair[1]])
    }
    missing = [
        (row.field, letter)
        for row in (*DELIBERATE, *OPEN)
        for letter in row.comparisons
        if not any(f == row.field and at == letter and (not row.cases or c in row.cases) for f, c, at in found)
    ]
    assert [] == missing


@pytest.mark.parametrize("engine", ["firstcause", "on native", "on contrib"])
def test_every_request_has_one_server_span_with_its_ledger(engine: str, told: dict[str, Any]) -> None:
    """Mounted applications, which have telemetry of their own, included."""
    for case, of in told[engine].items():
        servers = [span for span in of["spans"] if span["kind"] == "SERVER"]
        assert 1 == len(servers), case
        assert any(name.startswith("firstcause.ledger.") for name in servers[0]["attributes"]), case
        assert (1 if case != "websocket" else 0) == len(of["metrics"]), case


@pytest.mark.parametrize("engine", ["firstcause", "on native", "on contrib"])
def test_nothing_planted_leaves(engine: str, told: dict[str, Any]) -> None:
    """Neither a query's value nor an exception's text, although both libraries put the query on the span."""
    assert "planted" not in json.dumps(told[engine])


def test_the_library_inside_keeps_its_own_children(told: dict[str, Any]) -> None:
    """Native's operation spans and contrib's background span hang under the one server span."""
    for engine, child in (("on native", "fastapi.endpoint"), ("on contrib", "BackgroundTask int")):
        spans = told[engine]["background"]["spans"]
        (server,) = [span for span in spans if span["kind"] == "SERVER"]
        (inner,) = [span for span in spans if span["name"] == child]
        assert server["id"] == inner["parent"], engine
