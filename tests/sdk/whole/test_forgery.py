"""Forged, replayed, oversized and malformed proofs change nothing, through real client and server processes."""

from __future__ import annotations

import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from firstcause.mesh import Mesh, PeerVerdict
from firstcause.mesh.marks import derive, request_mark
from tests.sdk.whole.service import Service, exchange, get, parsed, service

KEY, FOREIGN = "the key of this deployment", "the key of somebody else's"
BLAME = PeerVerdict("payments", "2", False, "lock:ledger", "app.lock", "", 900, "payments", "2", "held by settle")
MESH, STRANGER = Mesh(KEY), Mesh(FOREIGN)


def payload(text: bytes, mark: str = "0" * 16) -> str:
    """A member with that content under a made-up mark."""
    return f'fc;desc="1.{urlsafe_b64encode(text).decode().rstrip("=")}.{mark}"'


Answer = Callable[[int], str]
FORGED: dict[str, Answer] = {
    "another key": lambda trace_id: STRANGER.answer(BLAME, trace_id),
    "no key": lambda trace_id: Mesh("").answer(BLAME, trace_id),
    "another trace": lambda trace_id: MESH.answer(BLAME, trace_id ^ 1),
    "echo of the request's mark": lambda trace_id: payload(b"payments\x1f" * 11, request_mark(derive(KEY), trace_id)),
    "content changed": lambda trace_id: MESH.answer(BLAME, trace_id).replace('desc="1.c', 'desc="1.d'),
    "mark cut": lambda trace_id: MESH.answer(BLAME, trace_id)[:-3] + '"',
    "another version": lambda trace_id: MESH.answer(BLAME, trace_id).replace('desc="1.', 'desc="2.'),
    "behind 9 KB": lambda trace_id: "cache;dur=1, " * 700 + MESH.answer(BLAME, trace_id),
    "member of 60 KB": lambda _trace_id: payload(b"\x1f" * 45_000),
    "not base64": lambda _trace_id: 'fc;desc="1.!!!.0000000000000000"',
    "no fields": lambda _trace_id: payload(b""),
    "too many fields": lambda _trace_id: payload(b"\x1f" * 40),
    "control characters": lambda _trace_id: payload(b"\x00\x01\x02" * 20),
    "quotes without end": lambda _trace_id: 'fc;desc="1.' + '\\"' * 2000,
    "only commas": lambda _trace_id: "," * 8000 + "fc",
    "a thousand of them": lambda _trace_id: ",".join([payload(b"x")] * 150),
}
BELIEVED: dict[str, Answer] = {"genuine": lambda trace_id: MESH.answer(BLAME, trace_id)}


@contextmanager
def liar() -> Iterator[str]:
    """A peer that takes 80 ms, and says of itself what its path asks for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            trace_id = int(self.headers["traceparent"].split("-")[1], 16)
            time.sleep(0.08)  # the slowness itself, which is to be blamed on this peer's address
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.send_header("Server-Timing", ({**FORGED, **BELIEVED})[self.path[1:].replace("%20", " ")](trace_id))
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(name="asker", scope="module")
def _asker() -> Iterator[Service]:
    with (
        liar() as peer,
        service("asker", PEER=peer, FIRSTCAUSE_MESH_KEY=KEY, FIRSTCAUSE_OBJECTIVES="default=20ms") as made,
    ):
        yield made


def verdict(asker: Service, case: str) -> dict[str, Any]:
    """What the asker's request was blamed on."""
    answer = httpx.get(f"{asker.url}/ask/{case}", timeout=30)
    line = asker.request_line(answer.headers["x-request-id"])
    assert (200, 200, "slow") == (answer.status_code, answer.json()["status"], line["outcome"])
    return dict(line["verdict"], ledger=line["ledger"])


@pytest.mark.parametrize("case", FORGED)
def test_a_verdict_that_proves_nothing_changes_nothing(asker: Service, case: str) -> None:
    """The slow call is a slow dependency at its address, and the header is counted."""
    before = asker.counted("firstcause_self_rejected_headers_total", header="server-timing")
    said = verdict(asker, case)
    assert ("dependency.slow", "") == (said["cause"], said["via"])
    assert said["service"].startswith("127.0.0.1:")
    assert "payments" not in str(said)
    if case != "no key":
        assert before < asker.counted("firstcause_self_rejected_headers_total", header="server-timing")


def test_a_genuine_verdict_is_adopted(asker: Service) -> None:
    """The same content under the deployment's key and this trace is believed: the forgeries failed by proof alone."""
    said = verdict(asker, "genuine")
    assert ("app.lock", "payments", "held by settle") == (said["cause"], said["service"], said["detail"])


# -- who is told ----------------------------------------------------------------------------------

TRACE, OTHER = 0xABCDEF, 0xFEDCBA
STATES = {
    "nothing": "",
    "a made-up mark": "fc=0123456789abcdef",
    "another key's mark": f"fc={request_mark(derive(FOREIGN), TRACE)}",
    "the mark of another trace": f"fc={request_mark(derive(KEY), OTHER)}",
    "the keyless mark": f"fc={Mesh('').outgoing('127.0.0.1', TRACE)}",
    "a mark in capitals": f"fc={request_mark(derive(KEY), TRACE).upper()}",
    "a mark with more": f"fc={request_mark(derive(KEY), TRACE)}0",
    "a mark under another name": f"xfc={request_mark(derive(KEY), TRACE)}",
    "an empty mark": "fc=",
    "an oversized state": f"fc={request_mark(derive(KEY), TRACE)}," + ",".join(f"k{n}=v" for n in range(513)),
    "a mark that is not ascii": "fc=größe",
}


@pytest.fixture(name="echo", scope="module", params=["echo", "echo_flask"])
def _echo(request: pytest.FixtureRequest) -> Iterator[Service]:
    with service(request.param, FIRSTCAUSE_MESH_KEY=KEY, FIRSTCAUSE_OBJECTIVES="default=50ms") as made:
        yield made


def told(echo: Service, state: str, path: str) -> str:
    """The Server-Timing header that a caller with this tracestate gets."""
    parent = f"traceparent: 00-{TRACE:032x}-{7:016x}-01".encode()
    carried = (b"tracestate: " + state.encode("utf-8"),) if state else ()
    status, headers, _body = parsed(exchange(echo.port, get(path, parent, *carried)))
    assert status == (500 if path == "/fail" else 200)
    return headers.get("server-timing", "")


@pytest.mark.parametrize("path", ["/slow", "/fail"])
@pytest.mark.parametrize("case", STATES)
def test_an_unverified_caller_is_told_nothing(echo: Service, case: str, path: str) -> None:
    """However slow or failed the request was; a page carries its own trace and mark for the browser, and no verdict."""
    members = [member.partition(";")[0].strip() for member in told(echo, STATES[case], path).split(",")]
    assert set() == {*members} - {"", "traceparent", "fcmark"}


@pytest.mark.parametrize("path", ["/slow", "/fail"])
def test_a_verified_caller_is_told(echo: Service, path: str) -> None:
    """The right mark, alone or among others, gets a verdict that verifies for this trace and no other."""
    for state in ("", "vendor=1,"):
        header = told(echo, state + f"fc={MESH.outgoing('127.0.0.1', TRACE)}", path)
        verified = MESH.believe(header, TRACE, "127.0.0.1")
        assert verified is not None
        assert ("echo", path == "/fail") == (verified.service, verified.failed)
        assert MESH.believe(header, OTHER, "127.0.0.1") is None
        assert STRANGER.believe(header, TRACE, "127.0.0.1") is None
