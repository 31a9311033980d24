"""The metrics on the application itself, when asked for."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask

from firstcause.metrics import Metrics
from firstcause.metrics.exposition import Exposition
from firstcause.metrics.mount import mount
from tests.sdk.metrics.scraped import LABELS, OPENMETRICS, report

WANTED = "http_server_request_duration_seconds_count"


def _exposition() -> Exposition:
    metrics = Metrics(LABELS)
    metrics.unit(report())
    return Exposition(metrics)


def test_on_fastapi_before_a_route_that_takes_everything() -> None:
    """Negotiated as on the port of its own, and no part of the API's documentation."""
    app = FastAPI()

    @app.get("/{rest:path}")
    def everything(rest: str) -> str:
        return rest

    assert "/metrics" in mount(app, "/metrics", _exposition())
    client = TestClient(app)
    reply = client.get("/metrics", headers={"Accept": OPENMETRICS})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert WANTED in reply.text
    assert "/metrics" not in client.get("/openapi.json").text


def test_on_flask() -> None:
    """The same there."""
    app = Flask("shop")
    mount(app, "/metrics", _exposition())
    reply = app.test_client().get("/metrics")
    assert (200, True) == (reply.status_code, WANTED in reply.text)


def test_a_route_of_the_hosts_stays() -> None:
    """What was there before is not replaced."""
    app = FastAPI()

    @app.get("/metrics")
    def own() -> str:
        return "own"

    assert "of its own" in mount(app, "/metrics", _exposition())
    assert '"own"' == TestClient(app).get("/metrics").text
