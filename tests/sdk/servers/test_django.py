"""Django under real servers: waitress and gunicorn (WSGI), uvicorn (ASGI), on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo_app.parts import free_port
from tests import parts
from tests.sdk.whole.sink import Sink, attributes, sink

ROOT = Path(__file__).resolve().parents[3]
PYTHONPATH = f"{ROOT / 'sdk/src'}:{ROOT}:{os.environ.get('PYTHONPATH', '')}"
MODULE = "tests.sdk.servers.django_shop"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SERVERS = {
    "waitress": ("-m", "waitress", "--host", "127.0.0.1", "--port", "{port}", f"{MODULE}:application"),
    "gunicorn": ("-m", "gunicorn", "-b", "127.0.0.1:{port}", "-k", "gthread", "--threads", "2", f"{MODULE}:application"),
    "uvicorn": (
        "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--lifespan", "off", f"{MODULE}:async_application"
    ),
}  # fmt: skip


class Shop:
    """A running server, what it prints, and the collector it reports to."""

    def __init__(self, server: str, collector: Sink, environ: dict[str, str]) -> None:
        self.collector, self.server, port = collector, server, free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, *(part.format(port=port) for part in SERVERS[server])],
            env={
                **os.environ, "PYTHONPATH": PYTHONPATH, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                "OTEL_BSP_SCHEDULE_DELAY": "50", "FIRSTCAUSE_USER_KEY": "a key for users only", **environ,
            },
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.printed: list[str] = []
        self.client = httpx.Client(base_url=self.url, timeout=20)
        self._up()

    def _up(self) -> None:
        """Connect until somebody listens; the process's own start is what is awaited."""
        for _ in range(2_000):
            try:
                self.client.get("/nowhere")
                return
            except httpx.ConnectError:
                assert self.process.poll() is None
                subprocess.run([sys.executable, "-S", "-c", ""], check=True)
        raise AssertionError("the server does not come up")

    def ask(self, path: str, **headers: str) -> tuple[httpx.Response, dict[str, Any]]:
        """One request, and its canonical line."""
        response = self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        request_id = response.headers["x-request-id"]
        return response, self.line(lambda line: line["event"] == "request" and line["request_id"] == request_id)

    def line(self, wanted: Any) -> dict[str, Any]:
        """The first line that `wanted` takes."""
        for known in self.printed:
            if known.startswith("{") and wanted(line := json.loads(known)):
                return line  # type: ignore[no-any-return]
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            self.printed.append(raw)
            if raw.startswith("{") and wanted(line := json.loads(raw)):
                return line  # type: ignore[no-any-return]
        raise AssertionError("the server ended")

    def stop(self) -> None:
        """SIGTERM, as an orchestrator does."""
        self.client.close()
        self.process.terminate()
        self.process.communicate(timeout=20)


@contextmanager
def serving(server: str, **environ: str) -> Iterator[Shop]:
    """The shop under `server`."""
    with sink() as collector:
        shop = Shop(server, collector, environ)
        try:
            yield shop
        finally:
            shop.stop()


@pytest.fixture(name="shop", scope="module", params=["waitress", "gunicorn", "uvicorn"])
def _shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with serving(request.param, SQLITE=str(tmp_path_factory.mktemp("django") / "shop.db")) as shop:
        yield shop


def test_a_request_is_correlated_spanned_and_accounted(shop: Shop) -> None:
    """Ids in and out, the route's template, queries as spans, and shares that sum to the wall."""
    traceparent = f"00-{TRACE}-00f067aa0ba902b7-01"
    response, line = shop.ask("/shop/orders/7/", x_request_id="from-the-edge", traceparent=traceparent)
    assert (200, "from-the-edge") == (response.status_code, response.json()["request"])
    assert ("GET", "/shop/orders/<int:pk>/", 200, "ok", TRACE) == (
        line["method"], line["route"], line["status"], line["outcome"], line["trace_id"]
    )  # fmt: skip
    assert {"app", "db:sqlite/shop.db", "lock:inventory"} <= set(line["ledger"])
    assert abs(sum(line["ledger"].values()) - line["duration_ms"]) < 0.01
    assert line["ledger"]["lock:inventory"] >= 10
    assert line["user_hash"]
    assert "s3cr3t" != line["session_id"]
    spans = shop.collector.trace(TRACE)
    (server,) = [span for span in spans if span.kind == 2]
    assert ("GET /shop/orders/<int:pk>/", "/shop/orders/<int:pk>/") == (
        server.name, attributes(server.attributes)["http.route"]
    )  # fmt: skip
    queries = [
        attributes(span.attributes) for span in spans if span.kind == 3 and span.parent_span_id == server.span_id
    ]
    assert ["sqlite", "sqlite"] == [query["db.system.name"] for query in queries]
    assert "django_content_type" in queries[0]["db.query.text"]


def test_a_line_of_the_view_has_the_requests_ids(shop: Shop) -> None:
    """stdlib logging inside a view carries request, session and route, and is exported once."""
    _response, request = shop.ask("/shop/orders/8/")
    line = shop.line(lambda line: line["event"] == "order 8 read")
    assert (request["trace_id"], request["request_id"]) == (line["trace_id"], line["request_id"])
    assert request["session_id"] == line["session_id"]


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [("/nowhere", 404, ""), ("/missing/", 404, "/missing/"), ("/broken/", 500, "/broken/"), ("/missing", 301, "")],
)
def test_every_answer_has_its_request_id(shop: Shop, path: str, status: int, route: str) -> None:
    """Also those that Django makes itself."""
    response, line = shop.ask(path)
    assert (status, route) == (response.status_code, line["route"])
    assert (status, response.headers["x-request-id"]) == (line["status"], line["request_id"])


def test_an_exception_is_named_with_its_place(shop: Shop) -> None:
    """Seen through Django's signal, though Django answers it with a page; its secret is in no line."""
    _response, line = shop.ask("/broken/")
    assert ("error", "LookupError", "app.exception") == (line["outcome"], line["error_type"], line["verdict"]["cause"])
    assert "broken (servers/django_shop.py:" in line["verdict"]["detail"]
    assert [] == [printed for printed in shop.printed if "hunter2" in printed]


def test_a_failed_statement_is_the_databases_error(shop: Shop) -> None:
    """The exception leads to the frame of the query, and its literal is gone."""
    _response, line = shop.ask("/gone/")
    assert ("error", "db.errors", "db:sqlite/shop.db") == (
        line["outcome"], line["verdict"]["cause"], line["verdict"]["resource"]
    )  # fmt: skip
    assert "hunter2" not in json.dumps(line)


def test_an_async_view_keeps_its_context_in_the_orms_thread(shop: Shop) -> None:
    """Queries that Django runs in a thread are the request's."""
    _response, line = shop.ask("/awaited/")
    assert "/awaited/" == line["route"]
    assert "db:sqlite/shop.db" in line["ledger"]


def test_a_stream_ends_with_its_last_byte(shop: Shop) -> None:
    """The unit lasts as long as the body; under ASGI also one that is made asynchronously."""
    for query in ("", "?async")[: 2 if shop.server == "uvicorn" else 1]:
        response, line = shop.ask(f"/streamed/{query}")
        assert b"012" == response.content
        assert line["duration_ms"] >= 90


def test_a_file_arrives_whole(shop: Shop) -> None:
    """Servers send files their own way; the bytes are the file's."""
    response, _line = shop.ask("/file/")
    assert Path(__file__).with_name("django_shop.py").read_bytes() == response.content


def test_a_regular_expression_is_a_path(shop: Shop) -> None:
    """A route written as a pattern reads like one written as a path."""
    _response, line = shop.ask("/old/7/x")
    assert "/old/<pk>/<var>" == line["route"]


@pytest.mark.parts
@pytest.mark.parametrize("server", ["waitress", "uvicorn"])
def test_the_orm_on_postgresql_is_booked_once(server: str) -> None:
    """Through psycopg the ORM's queries are one span each, under the database's name."""
    with parts.postgres() as database, serving(server, PGPORT_=str(database.port)) as shop:
        traceparent = f"00-{TRACE}-00f067aa0ba902b7-01"
        _response, line = shop.ask("/shop/orders/7/", traceparent=traceparent)
        assert "db:postgresql/shop" in line["ledger"]
        queries = [attributes(span.attributes) for span in shop.collector.trace(TRACE) if span.kind == 3]
        texts = [query["db.query.text"] for query in queries if query["db.operation.name"] == "SELECT"]
        assert 2 == len(texts)


def test_an_application_that_is_named_is_in_the_report(tmp_path: Path) -> None:
    """`configure(app=application)` says what it did, and a second time that it was done."""
    code = (
        f"from {MODULE} import application, async_application; import firstcause\n"
        "firstcause.configure(app=application); print(firstcause.configure(app=async_application))"
    )
    environ = {**os.environ, "PYTHONPATH": PYTHONPATH, "SQLITE": str(tmp_path / "shop.db")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert 2 == done.stdout.count("Django: already attached"), done.stderr
    assert 1 == done.stdout.count("+ servers.django")


def test_django_configured_before_us_is_watched_all_the_same(tmp_path: Path) -> None:
    """A handler that was made before `configure` is attached when it is passed, and taken off by `uninstrument`."""
    code = (
        "from django.conf import settings; settings.configure(ROOT_URLCONF='x', MIDDLEWARE=[])\n"
        "from django.core.wsgi import get_wsgi_application; app = get_wsgi_application(); before = type(app).__call__\n"
        "import firstcause; report = firstcause.configure('shop', app=app); print(report)\n"
        "print(before is type(app).__call__)\n"
        "from firstcause import clients; clients.uninstrument_all(); print(before is type(app).__call__)"
    )
    environ = {**os.environ, "PYTHONPATH": PYTHONPATH}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert ["False", "True"] == done.stdout.splitlines()[-2:], done.stderr
    assert "Django: " in done.stdout
