"""urllib3 against a real server: alone, and below requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import requests
import urllib3

from firstcause import _guard
from firstcause.clients import web
from firstcause.diagnosis.ledger import stamped
from firstcause.mesh import Mesh
from tests.sdk.clients.web import Peer, peer
from tests.sdk.clients.workbench import Workbench


@pytest.fixture(name="server")
def _server() -> Iterator[Peer]:
    web._peers.clear()
    with peer() as server:
        yield server


@pytest.fixture(name="http")
def _http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False) as http:
        yield http


def _of(server: Peer) -> str:
    return f"http:127.0.0.1:{server.server_address[1]}"


def test_a_call_is_a_span_and_time_of_the_peer(bench: Workbench, server: Peer, http: urllib3.PoolManager) -> None:
    """A request is one CLIENT span with the stable attributes under the unit's, and time of the peer."""
    with bench.unit() as unit:
        assert 200 == http.request("get", f"{server.url}/status/200?token=hush").status
    (span,) = bench.named("GET")
    assert unit.span.span_id == span.parent_span_id
    assert {
        "http.request.method": "GET", "server.address": "127.0.0.1", "server.port": server.server_address[1],
        "url.full": f"{server.url}/status/200?token=[redacted]", "http.response.status_code": 200,
    } == span.attributes  # fmt: skip
    assert bench.calls[_of(server)] > 0
    seen = server.seen[0]
    assert (f"{span.span_id:016x}", "request-1") == (seen["traceparent"].split("-")[2], seen["x-request-id"])


def test_below_requests_it_says_nothing(bench: Workbench, server: Peer) -> None:
    """A call of requests is one span, one frame and one set of headers, though urllib3 carries it."""
    with bench.unit() as unit:
        requests.get(server.url, timeout=5)
        assert server.seen[0]["traceparent"].split("-")[2] == f"{bench.spans[0].span_id:016x}"
        # One for the headers, and one for each of the waits for the body.
        assert {_of(server)} == set(unit.ledger.accounts)
    assert ["GET"] == [span.name for span in bench.spans if span.parent_span_id]


def test_below_requests_outside_units_too(bench: Workbench, server: Peer) -> None:
    """Where there is no ledger, a call of requests is still a single span."""
    requests.get(server.url, timeout=5)
    assert ["GET"] == [span.name for span in bench.spans]
    urllib3.request("GET", server.url)
    assert 2 == len(bench.spans)


def test_retries_are_one_call(bench: Workbench, server: Peer) -> None:
    """A call that urllib3 itself retried is one span with the last answer, and failed only if that failed."""
    retries = urllib3.Retry(2, status_forcelist=[503], backoff_factor=0)
    with urllib3.PoolManager(retries=retries) as http, bench.unit() as unit:
        assert 200 == http.request("GET", f"{server.url}/busy").status
        assert unit.ledger.last_failed is None
    (span,) = bench.named("GET")
    assert (2, 200) == (len(server.seen), span.attributes["http.response.status_code"])


@pytest.mark.parametrize("path", ["/slow-body", "/chunked"])
def test_a_body_read_later_is_time_of_the_peer(
    bench: Workbench, server: Peer, http: urllib3.PoolManager, path: str
) -> None:
    """Waiting for a body that was asked for separately is booked to the peer, in frames of their own."""

    def release() -> None:
        server.half_sent.wait(5)
        threading.Event().wait(0.1)
        server.release.set()

    threading.Thread(target=release, daemon=True).start()
    with bench.unit() as unit:
        response = http.request("GET", server.url + path, preload_content=False)
        before = unit.ledger.accounts[_of(server)].count
        assert 20_000 == sum(map(len, response.stream()))
        assert unit.ledger.accounts[_of(server)].count > before
    if path == "/slow-body":
        assert bench.shares[_of(server)] > 60


def test_a_redirect_takes_nothing_along(bench: Workbench, server: Peer, http: urllib3.PoolManager) -> None:
    """Each hop is a call of its own; a stranger gets neither mark, request id nor the hop's baggage."""
    bench.recorder.mesh = Mesh("key")
    bench.recorder.mesh.realm._known["localhost"] = False
    with bench.unit():
        assert 200 == http.request("GET", f"{server.url}/away", redirect=True, retries=3).status
    ours, theirs = server.seen
    assert {"traceparent", "tracestate", "x-request-id"} <= set(ours)
    assert {"traceparent"} == {"traceparent", "tracestate", "x-request-id", "baggage"} & set(theirs)
    assert [302, 200] == [span.attributes["http.response.status_code"] for span in bench.named("GET")]


def test_a_time_out_is_a_failed_call(bench: Workbench, server: Peer) -> None:
    """What urllib3 gives up waiting for leads to a failed frame that timed out, through its own wrapping."""
    http = urllib3.PoolManager(retries=urllib3.Retry(0), timeout=0.05)
    with http, bench.unit(), pytest.raises(urllib3.exceptions.MaxRetryError) as raised:
        http.request("GET", f"{server.url}/hang")
    frame = stamped(raised.value)
    assert frame is not None
    assert (True, True, _of(server)) == (frame.failed, frame.timed_out, frame.resource)


def test_a_verdict_is_believed(bench: Workbench, server: Peer, http: urllib3.PoolManager) -> None:
    """A proven verdict books the call under the service's name."""
    with bench.unit() as unit:
        http.request("GET", f"{server.url}/verdict")
        assert {"http:payments"} == set(unit.ledger.accounts)


def test_a_bug_of_ours_does_not_reach_the_host(
    bench: Workbench, server: Peer, http: urllib3.PoolManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When our own code raises, the host still gets its reply."""
    _guard.strict(False)
    monkeypatch.setattr(web, "shown", lambda _url: 1 / 0)
    with bench.unit():
        assert 20_000 == len(http.request("GET", server.url).data)
