"""The endpoint as a blueprint, under a real waitress."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import firstcause
from firstcause.testing import Capture
from firstcause_rum import Config
from firstcause_rum.flask import blueprint

from .pages import HEAD, beacon
from .servers import answer, chunked, request, wsgi

BODY = json.dumps(beacon()).encode()


def shop(**settings: Any) -> Flask:
    """An application with a page and the endpoint."""
    app = Flask(__name__)

    @app.get("/cart")
    def cart() -> str:
        return "<h1>cart</h1>"

    firstcause.configure("shop", app=app)
    app.register_blueprint(blueprint(Config(settle_s=0, **settings)))
    return app


@pytest.fixture(name="port")
def _port(seen: Capture) -> Iterator[int]:
    with wsgi(shop()) as port:
        yield port


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(BODY), 204), (request(gzip.compress(BODY), content_encoding="gzip"), 204),
        (request(None, transfer_encoding="chunked") + chunked(BODY[:9], BODY[9:]), 204),
        (request(b"x" * 70_000), 413), (request(None, transfer_encoding="chunked") + chunked(*[b"x" * 4096] * 20), 413),
        (request(gzip.compress(bytes(60_000_000)), content_encoding="gzip"), 413),
        (request(BODY, content_encoding="br"), 400), (request(BODY, content_type="text/html"), 400), (request(b"{"), 400),
        (request(BODY, origin="https://evil.example", sec_fetch_site="cross-site"), 400), (request(BODY, method="PUT"), 405),
        (request(b"", method="OPTIONS"), 400), (request(b"", method="GET", path="/_fcs.js"), 404),
    ],
)  # fmt: skip
def test_what_is_answered(port: int, seen: Capture, raw: bytes, status: int) -> None:
    """The same as from the ASGI application, since the core is the same."""
    found, headers, body = answer(port, raw)
    assert status == found
    assert (status in (404, 405)) or ("no-store", b"") == (headers["cache-control"], body)
    assert (status == 204) == seen.metric("firstcause.page.views")


def test_a_page_of_flask_is_joined_to_its_request(seen: Capture) -> None:
    """Page, `Server-Timing`, beacon, one trace."""
    with wsgi(shop()) as port:
        timing = answer(port, request(None, path="/cart", method="GET"))[1]["server-timing"]
        parent, mark = (part.partition('desc="')[2].rstrip('"') for part in timing.split(", "))
        assert 204 == answer(port, request(json.dumps(beacon(tp=parent, mark=mark)).encode()))[0]
    assert 1 == seen.metric("firstcause.page.views", joined="true")
    assert int(parent.split("-")[1], 16) == seen.assert_logged("firstcause.page_view").trace_id


def test_the_script_is_served(seen: Capture, tmp_path: Path) -> None:
    """From a file."""
    (tmp_path / "page.js").write_text("1")
    client = shop(script=str(tmp_path / "page.js")).test_client()
    found = client.get("/_fc.js")
    assert (200, b"1", "text/javascript; charset=utf-8") == (found.status_code, found.data, found.headers["content-type"])
    again = client.get("/_fc.js", headers={"If-None-Match": found.headers["etag"]})
    assert (304, b"", None) == (again.status_code, again.data, again.headers.get("content-type"))


class Drips(io.RawIOBase):
    """A body of which a piece comes now and then."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self._clock = clock

    def read(self, size: int = -1) -> bytes:
        self._clock[0] += 6
        return b" "


def status(app: Flask, **environ: Any) -> int:
    """The status of a request given as WSGI servers give it."""
    said: list[str] = []
    base = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/_fc", "SERVER_NAME": "x", "SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(BODY), "wsgi.errors": io.StringIO(),
        **{f"HTTP_{k.upper().replace('-', '_')}": v for k, v in HEAD.items()}, "CONTENT_TYPE": "text/plain",
    }  # fmt: skip
    for _ in app.wsgi_app({**base, **environ}, lambda line, _headers, _exc=None: said.append(line)):  # type: ignore[arg-type]
        pass
    return int(said[0][:3])


def test_a_body_without_an_end_is_not_read(seen: Capture) -> None:
    """No length, and no server that would say where it ends."""
    app = shop()
    assert (400, 204) == (status(app), status(app, **{"wsgi.input_terminated": True}))


def test_a_dripping_body_is_given_up(seen: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten seconds of pieces."""
    clock = [0.0]
    monkeypatch.setattr("firstcause_rum.flask.monotonic", lambda: clock[0])
    assert 400 == status(shop(), CONTENT_LENGTH="5000", **{"wsgi.input": Drips(clock)})
    assert 1 == seen.metric("firstcause.rum.beacons", result="slow")
