"""Under every server: each request answered leaves one span, one log record and one line, and SIGTERM loses none."""

from __future__ import annotations

import contextlib
import http.client
import os
from pathlib import Path

import pytest

from tests.sdk.processes.served import HERE, Served
from tests.sdk.processes.sink import sink

APPS = HERE / "apps"
REQUESTS = 30
EXIT_S = 12.0
"""Servers take their own time to end; what we may add is bounded in `test_a_hanging_collector…`."""

UVICORN = ["uvicorn", "--port", "{port}"]
GUNICORN = ["gunicorn", "-b", "127.0.0.1:{port}", "--graceful-timeout", "5"]
HYPERCORN = ["hypercorn", "-b", "127.0.0.1:{port}"]
ASGI = "uvicorn.workers.UvicornWorker"
QUICK = {
    "uvicorn workers": [*UVICORN, "--workers", "2", "own_shop:app"],
    "gunicorn preload": [*GUNICORN, "-w", "2", "--preload", "own_store:app"],
}
ROWS = {
    "uvicorn": [*UVICORN, "own_shop:app"],
    "uvicorn lifespan off": [*UVICORN, "--lifespan", "off", "own_shop:app"],
    "uvicorn recycled": [*UVICORN, "--workers", "2", "--limit-max-requests", "7", "own_shop:app"],
    "gunicorn sync": [*GUNICORN, "-w", "2", "own_store:app"],
    "gunicorn gthread": [*GUNICORN, "-w", "2", "-k", "gthread", "--threads", "4", "own_store:app"],
    "gunicorn gthread preload": [*GUNICORN, "-w", "2", "-k", "gthread", "--threads", "4", "--preload", "own_store:app"],
    "gunicorn uvicorn": [*GUNICORN, "-w", "2", "-k", ASGI, "own_shop:app"],
    "gunicorn uvicorn preload": [*GUNICORN, "-w", "2", "-k", ASGI, "--preload", "own_shop:app"],
    "gunicorn recycled": [*GUNICORN, "-w", "2", "--max-requests", "7", "own_store:app"],
    "gunicorn gevent": [*GUNICORN, "-w", "2", "-k", "gevent", "own_store:app"],
    "hypercorn": [*HYPERCORN, "-w", "0", "own_shop:app"],
    "hypercorn workers": [*HYPERCORN, "-w", "2", "own_shop:app"],
    "waitress": ["waitress-serve", "--listen=127.0.0.1:{port}", "own_store:app"],
}
RUN = {
    "run uvicorn": [*UVICORN, "--workers", "2", "shop:app"],
    "run gunicorn": [*GUNICORN, "-w", "2", "store:app"],
    "run gunicorn preload": [*GUNICORN, "-w", "2", "--preload", "store:app"],
    "run gunicorn uvicorn": [*GUNICORN, "-w", "2", "-k", ASGI, "shop:app"],
    "run gunicorn gevent": [*GUNICORN, "-w", "2", "-k", "gevent", "store:app"],
    "run hypercorn": [*HYPERCORN, "-w", "2", "shop:app"],
    "run waitress": ["waitress-serve", "--listen=127.0.0.1:{port}", "store:app"],
    "run flask": ["flask", "--app", "store", "run", "--port", "{port}"],
}


def _row(command: list[str]) -> None:
    # A worker of uvicorn that has served its number hangs up on whom it has accepted: nobody asked it anything.
    hangs_up = (ConnectionResetError,) if "--limit-max-requests" in command else ()
    with sink() as collector, Served(command, collector.url, APPS) as server:
        for number in range(REQUESTS):
            with contextlib.suppress(*hangs_up):
                assert 200 == server.get(f"/items/{number}")[0]
        assert len(server.asked) > REQUESTS / 2
        took_s = server.terminate()
        asked = sorted(server.asked)
        output = server.output()
        assert asked == sorted(span.trace for span in collector.servers() if span.trace in server.asked), output
        assert asked == sorted(r.trace for r in collector.records if r.event == "firstcause.request" and r.trace in server.asked)
        assert asked == server.traces_on_lines(), output
        assert took_s < EXIT_S
        instances = {span.resource["service.instance.id"] for span in collector.servers()}
        assert instances == {record.resource["service.instance.id"] for record in collector.records if record.event}
        assert "Traceback" not in output


@pytest.mark.parametrize("name", QUICK)
def test_nothing_is_lost_at_sigterm(name: str) -> None:
    """The two servers with most processes: requests, spans, records and lines are the same set."""
    _row(QUICK[name])


@pytest.mark.e2e
@pytest.mark.parametrize("name", ROWS)
def test_nothing_is_lost_at_sigterm_under_every_server(name: str) -> None:
    """Requests, spans, records and lines are the same set."""
    _row(ROWS[name])


@pytest.mark.e2e
@pytest.mark.parametrize("name", RUN)
def test_nothing_is_lost_without_code(name: str) -> None:
    """The same with `firstcause run` in front and not a word of us in the application."""
    _row(["python", "-m", "firstcause", "run", *RUN[name]])


def _answer(server: Served) -> tuple[int, bytes] | None:
    """None from a server that closes a connection it has accepted and not read, as uvicorn does when it ends."""
    try:
        return server.get("/items/5")
    except (OSError, http.client.HTTPException):
        return None


@pytest.mark.e2e
@pytest.mark.parametrize("app", ["own_shop:app", "run"])
def test_a_reload_keeps_all(app: str, tmp_path: Path) -> None:
    """Spans of before and after a change of the source arrive, from two processes."""
    for source in APPS.glob("*.py"):
        (tmp_path / source.name).write_text(source.read_text())
    run = ["python", "-m", "firstcause", "run"] if app == "run" else []
    command = [*run, *UVICORN, "--reload", "shop:app" if app == "run" else app]
    with sink() as collector, Served(command, collector.url, tmp_path) as server:
        for number in range(5):
            server.get(f"/items/{number}")
        first = server.get("/items/5")
        (tmp_path / "shop.py").write_text((APPS / "shop.py").read_text().replace('{"number": number}', '{"number": -1}'))
        while _answer(server) in (first, None):
            pass
        server.terminate()
        assert sorted(server.asked) == sorted(s.trace for s in collector.servers() if s.trace in server.asked), server.output()
        assert 2 <= len({span.resource["service.instance.id"] for span in collector.servers()})


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["uvicorn", "gunicorn gthread", "hypercorn workers", "waitress"])
def test_a_hanging_collector_delays_the_end_within_the_bound(name: str) -> None:
    """Against the same server without an exporter, a collector that never answers costs at most the bound."""
    took: dict[str, float] = {}
    for exporter in ("none", "otlp"):
        with sink("hang") as collector, Served(
            ROWS[name], collector.url, APPS, OTEL_TRACES_EXPORTER=exporter, OTEL_LOGS_EXPORTER=exporter
        ) as server:  # fmt: skip
            for number in range(5):
                server.get(f"/items/{number}")
            took[exporter] = server.terminate()
    # Twice the bound of two seconds, for a machine that others have too; without one it would be the 10 s of a send.
    assert took["otlp"] - took["none"] < 4, os.fspath(APPS)
