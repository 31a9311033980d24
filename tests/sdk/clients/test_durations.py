"""What calls count under the standard instruments, and addresses as they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis
import requests
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, exc, text

from firstcause.clients import web
from firstcause.conventions import BY_NAME
from firstcause.logs.redaction import redact_url
from tests.sdk.clients.web import Peer, peer
from tests.sdk.clients.workbench import Workbench

HTTP, DB = "http.client.request.duration", "db.client.operation.duration"


@pytest.fixture(name="counted")
def _counted(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Instrument and key of every call that was counted, and its exemplar's trace id."""
    found: list[tuple[Any, ...]] = []

    def call(instrument: str, key: tuple[str, ...], seconds: float, trace_id: int = 0, _at: int = 0) -> None:
        assert (0 < seconds < 5, len(BY_NAME[instrument].attributes)) == (True, len(key))
        found.append((instrument, key, trace_id))

    monkeypatch.setattr(bench.metrics, "call", call, raising=False)
    return found


@pytest.fixture(name="server")
def _server() -> Iterator[Peer]:
    web._peers.clear()
    with peer() as server:
        yield server


def test_http_calls_are_counted_once(bench: Workbench, server: Peer, counted: list[tuple[Any, ...]]) -> None:
    """A call counts under method, address, status and error, with its trace as exemplar when sampled."""
    port = str(server.server_address[1])
    with bench.unit() as unit:
        httpx.get(f"{server.url}/status/200")
        httpx.get(f"{server.url}/status/503")
        requests.get(server.url, timeout=5)
    here = ("127.0.0.1", port)
    assert [
        (HTTP, ("GET", *here, "200", ""), unit.span.trace_id),
        (HTTP, ("GET", *here, "503", "503"), unit.span.trace_id),
        (HTTP, ("GET", *here, "200", ""), unit.span.trace_id),
    ] == counted


def test_a_call_without_an_answer_has_no_status(bench: Workbench, server: Peer, counted: list[tuple[Any, ...]]) -> None:
    """A refused connection counts under its error; an odd method under `_OTHER`."""
    server.server_close()
    with bench.unit(), pytest.raises(httpx.ConnectError):
        httpx.request("BREW", server.url)
    port = str(server.server_address[1])
    assert [("_OTHER", "127.0.0.1", port, "", "ConnectError")] == [key for _name, key, _trace in counted]


def test_statements_and_commands_are_counted(bench: Workbench, counted: list[tuple[Any, ...]], redis_url: str) -> None:
    """Statements and commands count under system, namespace, operation and error."""
    engine = create_engine("sqlite://")
    with bench.unit(), engine.connect() as connection, redis.Redis.from_url(redis_url) as cache:
        connection.execute(text("SELECT 1"))
        with pytest.raises(exc.OperationalError):
            connection.execute(text("SELECT * FROM nowhere"))
        cache.get("basket:1")
    engine.dispose()
    assert [
        ("sqlite", "", "SELECT", ""),
        ("sqlite", "", "SELECT", "OperationalError"),
        ("redis", "0", "GET", ""),
    ] == [key for name, key, _trace in counted if name == DB]


@pytest.mark.parametrize(
    "url",
    [
        "http://payments:8000/orders/7731/charge",
        "https://api.example.com/v1/orders/0f8fad5b-d9cb-469f-a165-70867728950e?token=hush&page=2",
        "http://user:hush@payments/",
        "http://payments/login?next=%2F#token=hush",
        "http://payments/login?=hush&hush&next=hush",
        "http://payments/sk_live_hush1234/x",
        "http://payments",
        "nonsense",
        "",
    ],
)
def test_an_address_is_shown_as_redaction_has_it(url: str) -> None:
    """The quick way says what `redact_url` says."""
    assert redact_url(url) == web.shown(url)
    assert "hush" not in web.shown(url)


@given(
    st.from_regex(r"https?://[a-z.:0-9@-]{1,20}(/[A-Za-z0-9_.=:@%-]{0,24}){0,5}(\?[a-z=&%0-9]{0,30})?", fullmatch=True)
)
def test_any_address_is_shown_as_redaction_has_it(url: str) -> None:
    """The quick way is taken only where there is nothing to find."""
    assert redact_url(url) == web.shown(url)
