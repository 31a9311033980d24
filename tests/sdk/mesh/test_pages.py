"""The mark of a page: which trace it came from, for the endpoint that hears of it later."""

from __future__ import annotations

from hashlib import blake2s

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

import firstcause
from firstcause.mesh import Mesh
from firstcause.mesh.marks import derive, page_issued, page_mark, request_mark
from firstcause.testing import Capture

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "a secret of sixteen"
KEY = derive(SECRET)


def test_the_mark_is_the_one_of_the_wire() -> None:
    """`blake2s` over traceparent and time, under the deployment's key, with a domain of its own."""
    mac = blake2s(f"{PARENT}.1790000000".encode(), key=KEY, person=b"fc-page", digest_size=8).hexdigest()
    assert f"1790000000.{mac}" == page_mark(KEY, PARENT, 1_790_000_000)
    told = Mesh(SECRET).page(PARENT, 1_790_000_000, False)
    assert f'traceparent;desc="{PARENT}", fcmark;desc="1790000000.{mac}"' == told


def test_a_mark_says_when_it_was_issued() -> None:
    """For this span only, and under this key only."""
    mark = page_mark(KEY, PARENT, 1_790_000_000)
    assert 1_790_000_000 == Mesh(SECRET).page_issued(PARENT, mark, False)
    assert 0 == page_issued(KEY, PARENT[:-1] + "0", mark)
    assert 0 == page_issued(derive("another secret"), PARENT, mark)
    assert 0 == page_issued(KEY, PARENT, "0" + mark)


@pytest.mark.parametrize("mark", ["", ".", "1", "1.", "-1.x", "٣.x", "9" * 400 + ".x", "1790000000.ffffffffffffffff"])
def test_what_is_no_mark(mark: str) -> None:
    """Cut, forged, or in other digits."""
    assert 0 == page_issued(KEY, PARENT, mark)


@given(st.text(max_size=60), st.text(max_size=40))
def test_nothing_made_up_verifies(parent: str, mark: str) -> None:
    """Whatever a page sends back."""
    assert 0 == page_issued(KEY, parent, mark)


def test_without_a_key_only_this_machine_is_told_and_believed() -> None:
    """Everybody knows the key of a deployment that has none."""
    mesh = Mesh("")
    told = mesh.page(PARENT, 1_790_000_000, True)
    mark = told.rpartition('desc="')[2].rstrip('"')
    assert ("", 0) == (mesh.page(PARENT, 1, False), mesh.page_issued(PARENT, mark, False))
    assert 1_790_000_000 == mesh.page_issued(PARENT, mark, True)


def test_pages_carry_the_mark_and_nothing_else_does() -> None:
    """HTML to a browser does; data does not, nor does a page that another service asked for."""
    with Capture(mesh_key=SECRET):
        app = FastAPI()

        @app.get("/page", response_class=HTMLResponse)
        def page() -> str:
            return "<p>"

        @app.get("/data")
        def data() -> dict[str, int]:
            return {"n": 1}

        firstcause.configure("shop", app=app)
        client = TestClient(app)
        timing = client.get("/page").headers["server-timing"]
        parent, mark = (part.partition('desc="')[2].rstrip('"') for part in timing.split(", "))
        assert 0 < Mesh(SECRET).page_issued(parent, mark, False)
        assert "server-timing" not in client.get("/data").headers
        asked = {"traceparent": PARENT, "tracestate": f"fc={request_mark(KEY, int(PARENT.split('-')[1], 16))}"}
        assert "fcmark" not in client.get("/page", headers=asked).headers["server-timing"]
