"""Methods that callers make up."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import firstcause
from firstcause.testing import Capture


@pytest.mark.parametrize("method", ["BREW", "WS"])
def test_a_method_of_a_strangers_making_is_another(capcause: Capture, method: str) -> None:
    """One that is called like our word for websockets is no websocket either."""
    app = FastAPI()
    firstcause.configure(service="shop", app=app)
    TestClient(app).request(method, "/")
    (span,) = capcause.spans
    said = dict(span.attributes or {})
    assert ("_OTHER", method) == (said.get("http.request.method"), said.get("http.request.method_original"))
