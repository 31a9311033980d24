"""The endpoint under a real uvicorn: what reaches it, and what never does."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

import firstcause
from firstcause.testing import Capture
from firstcause_rum import Config
from firstcause_rum.asgi import Endpoint, attach

from .pages import beacon
from .servers import answer, asgi, chunked, read, request

BODY = json.dumps(beacon()).encode()


@pytest.fixture(name="port")
def _port(seen: Capture) -> Iterator[int]:
    with asgi(Endpoint(Config(read_s=0.3, settle_s=0))) as port:
        yield port


@pytest.mark.parametrize(
    "raw",
    [
        request(BODY), request(BODY, content_type="application/json"), request(gzip.compress(BODY), content_encoding="gzip"),
        request(None, transfer_encoding="chunked") + chunked(BODY[:9], BODY[9:]),
        request(BODY, x_forwarded_for="1.1.1.1, " * 500), request(BODY, cookie="session=1"),
        request(BODY, x_huge="x" * 60_000), request(BODY, user_agent="x" * 60_000),
    ],
)  # fmt: skip
def test_ways_to_send(port: int, seen: Capture, raw: bytes) -> None:
    """Plain, packed, in pieces; with headers that mean nothing here."""
    status, headers, body = answer(port, raw)
    assert (204, b"", "no-store") == (status, body, headers["cache-control"])
    assert "set-cookie" not in headers
    assert 1 == seen.metric("firstcause.page.views")


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (request(b"x" * 70_000), {413}), (request(b"", content_length="99999999"), {413}),
        (request(None, transfer_encoding="chunked") + chunked(*[b"x" * 4096] * 20), {413}),
        (request(gzip.compress(bytes(60_000_000)), content_encoding="gzip"), {413}),
        (request(BODY, content_encoding="br"), {400}), (request(BODY, content_type="multipart/form-data"), {400}),
        (request(b"{" * 60_000), {400}), (request(None), {400}), (request(BODY, method="PUT"), {405}),
        (request(BODY, method="GET"), {405}), (request(BODY, origin="https://evil.example", sec_fetch_site=""), {400}),
        (request(BODY, x_huge="x" * 200_000), {431}), (request(BODY, **{f"x_{n}": "x" * 900 for n in range(200)}), {431}),
    ],
)  # fmt: skip
def test_ways_to_be_refused(port: int, seen: Capture, raw: bytes, statuses: set[int]) -> None:
    """Whatever its size, its kind and its lies; afterwards the endpoint is as before."""
    status, _headers, body = answer(port, raw)
    assert status in statuses
    assert b"" == body
    assert 0 == seen.metric("firstcause.page.views")
    assert 204 == answer(port, request(BODY))[0]


def test_a_slow_body_is_given_up(port: int, seen: Capture) -> None:
    """A page that announces a body and does not send it is not waited for, and holds up nobody."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(request(BODY[:10], content_length=str(len(BODY))))
        assert 204 == answer(port, request(BODY))[0]
        assert 400 == read(connection)[0]
    assert 1 == seen.metric("firstcause.rum.beacons", result="slow")


def test_a_page_that_leaves_is_no_error(port: int, seen: Capture) -> None:
    """Half a body, then nothing: as if it had never come."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(request(BODY[:10], content_length=str(len(BODY))))
    assert 204 == answer(port, request(BODY))[0]
    assert 1 == seen.metric("firstcause.page.views")


def test_the_rate_is_said_before_the_body(seen: Capture) -> None:
    """429 comes although the body never does."""
    with asgi(Endpoint(Config(address_rate=0.01, address_burst=1))) as port:
        assert 204 == answer(port, request(BODY))[0]
        status, headers, _body = answer(port, request(b"", content_length="1000"))
    assert (429, "100") == (status, headers["retry-after"])


def test_the_script_is_served(seen: Capture, tmp_path: Path) -> None:
    """As a file of its own, to be kept for an hour."""
    file = tmp_path / "page.js"
    file.write_text("1")
    with asgi(Endpoint(Config(script=str(file)))) as port:
        status, headers, body = answer(port, request(None, method="GET", path="/_fc.js"))
        assert (200, "", b"1") == (status, headers.get("set-cookie", ""), body)
        assert "text/javascript; charset=utf-8" == headers["content-type"]
        assert (200, b"") == answer(port, request(None, method="HEAD", path="/_fc.js"))[::2]
        for tag, status in ((headers["etag"], 304), (f'"x", W/{headers["etag"]}', 304), ("*", 304), ('"x"', 200)):
            given = answer(port, request(None, method="GET", path="/_fc.js", if_none_match=tag))
            assert (status, b"1" if status == 200 else b"") == given[::2]
            assert headers["etag"] == given[1]["etag"]


def test_a_page_of_fastapi_is_joined_to_its_request(seen: Capture) -> None:
    """The real way round: page, `Server-Timing`, beacon, one trace; other answers carry no mark."""
    app = FastAPI()

    @app.get("/cart", response_class=HTMLResponse)
    def cart() -> str:
        return "<h1>cart</h1>"

    @app.get("/api")
    def api() -> dict[str, int]:
        return {"n": 1}

    @app.get("/{rest:path}")
    def all_paths(rest: str) -> str:
        return rest

    firstcause.configure("shop", app=app)
    attach(app, Config(settle_s=0))
    with asgi(app) as port:
        assert "server-timing" not in answer(port, request(None, path="/api", method="GET"))[1]
        timing = answer(port, request(None, path="/cart", method="GET"))[1]["server-timing"]
        parent, mark = (part.partition('desc="')[2].rstrip('"') for part in timing.split(", "))
        assert 204 == answer(port, request(json.dumps(beacon(tp=parent, mark=mark)).encode()))[0]
        seen.wait(3)
    page = next(unit for unit in seen.requests if unit.route == "/cart")
    told = seen.assert_logged("firstcause.page_view")
    assert (parent.split("-")[1], int(parent.split("-")[1], 16)) == (f"{page.trace_id:032x}", told.trace_id)
    assert 1 == seen.metric("firstcause.page.views", joined="true")
