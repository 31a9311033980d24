"""httpx and requests: frames, headers, bodies and verdicts, against a real server."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests

from firstcause.clients import web
from firstcause.diagnosis.ledger import stamped
from firstcause.mesh import Mesh
from tests.sdk.clients.web import Peer, peer
from tests.sdk.clients.workbench import Workbench

Get = Callable[[str], Any]


def _async_get(url: str) -> httpx.Response:
    async def get() -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(url)

    return asyncio.run(get())


GETS = pytest.mark.parametrize("get", [httpx.get, _async_get, requests.get], ids=["httpx", "async", "requests"])


@pytest.fixture(name="server")
def _server() -> Iterator[Peer]:
    web._peers.clear()
    with peer() as server:
        yield server


@GETS
def test_a_call_is_a_span_and_time_of_the_peer(bench: Workbench, server: Peer, get: Get) -> None:
    """A call is one CLIENT span with the stable attributes, and its time is booked to the peer's host."""
    with bench.unit() as unit:
        get(f"{server.url}/status/200?token=hush")
    span = bench.named("GET")[0]
    assert unit.span.span_id == span.parent_span_id
    assert ("GET", "127.0.0.1", server.server_address[1], 200) == tuple(
        span.attributes[key]
        for key in ("http.request.method", "server.address", "server.port", "http.response.status_code")
    )
    assert "hush" not in span.attributes["url.full"]
    assert bench.calls[f"http:127.0.0.1:{server.server_address[1]}"] > 0


@GETS
def test_ids_travel_to_the_realm(bench: Workbench, server: Peer, get: Get) -> None:
    """A host of ours gets the trace context with the mark, the request id and the baggage."""
    with bench.unit() as unit:
        unit.baggage = {"tenant": "blue"}
        get(server.url)
    seen = server.seen[0]
    span = bench.named("GET")[0]
    assert ["00", f"{span.trace_id:032x}", f"{span.span_id:016x}"] == seen["traceparent"].split("-")[:3]
    assert seen["tracestate"].startswith("fc=")
    assert ("request-1", "tenant=blue") == (seen["x-request-id"], seen["baggage"])


def test_strangers_get_the_trace_context_only(bench: Workbench) -> None:
    """A host outside the realm gets neither mark, request id nor baggage."""
    with bench.unit() as unit:
        unit.baggage = {"tenant": "blue"}
        with web.begin("GET", "https://api.example.com/v1", "https", "api.example.com", None) as call:
            sent = web.headers(call, lambda name: False)
    assert ["traceparent"] == [name for name, _value in sent]


@pytest.mark.parametrize(
    "get",
    [lambda url: httpx.get(url, follow_redirects=True), lambda url: requests.get(url, timeout=5)],
    ids=["httpx", "requests"],
)
def test_a_redirect_takes_nothing_along(bench: Workbench, server: Peer, get: Get) -> None:
    """Each hop is a call of its own; a stranger gets the trace context only, and the reply's request is as it was."""
    bench.recorder.mesh = Mesh("key")
    bench.recorder.mesh.realm._known["localhost"] = False
    with bench.unit() as unit:
        unit.baggage = {"tenant": "blue"}
        reply = get(f"{server.url}/away")
    ours, theirs = server.seen
    assert {"traceparent", "tracestate", "x-request-id", "baggage"} <= set(ours)
    assert {"traceparent"} == {"traceparent", "tracestate", "x-request-id", "baggage"} & set(theirs)
    assert [302, 200] == [span.attributes["http.response.status_code"] for span in bench.named("GET")]
    assert "traceparent" not in reply.request.headers


def test_a_request_id_of_the_hosts_own_stays(bench: Workbench, server: Peer) -> None:
    """Nothing that the application set itself is replaced, but the trace context."""
    with bench.unit():
        httpx.get(server.url, headers={"X-Request-ID": "mine", "traceparent": "00-1-2-01"})
        requests.get(server.url, headers={"X-Request-ID": "mine", "traceparent": "00-1-2-01"}, timeout=5)
    for seen, span in zip(server.seen, bench.named("GET"), strict=True):
        assert ("mine", f"{span.span_id:016x}") == (seen["x-request-id"], seen["traceparent"].split("-")[2])


def test_each_attempt_of_a_hand_written_retry_is_a_call(bench: Workbench, server: Peer) -> None:
    """A transport of the user's that retries gives a call per attempt; the pause between belongs to the peer."""

    class Retrying(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            while response.status_code == 503:
                response.read()
                threading.Event().wait(0.05)
                response = super().handle_request(request)
            return response

    with bench.unit(), httpx.Client(transport=Retrying()) as client:
        assert 200 == client.get(f"{server.url}/busy").status_code
    assert [503, 200] == [span.attributes["http.response.status_code"] for span in bench.named("GET")]
    assert 2 == len({seen["traceparent"] for seen in server.seen})
    assert bench.shares[f"http:127.0.0.1:{server.server_address[1]}"] > 45


@GETS
def test_a_slow_body_is_time_of_the_peer(bench: Workbench, server: Peer, get: Get) -> None:
    """Waiting for the body after the headers is booked to the peer as well, not to own code."""

    def release() -> None:
        server.half_sent.wait(10)
        threading.Event().wait(0.1)
        server.release.set()

    threading.Thread(target=release, daemon=True).start()
    with bench.unit():
        get(f"{server.url}/slow-body")
    # Of the 100 ms a busy machine may have withheld some.
    assert bench.shares[f"http:127.0.0.1:{server.server_address[1]}"] > 60
    assert bench.shares["app"] < 60


def test_elapsed_of_requests_still_means_the_headers(bench: Workbench, server: Peer) -> None:
    """`Response.elapsed` stays the time to the headers: bodies are not read earlier than without us."""

    elapsed: list[float] = []

    def has_headers(response: requests.Response, **_: object) -> None:
        """Called when `elapsed` is known; the rest of the body comes only now."""
        elapsed.append(response.elapsed.total_seconds())
        server.release.set()

    with bench.unit():
        response = requests.get(f"{server.url}/slow-body", timeout=10, hooks={"response": has_headers})
    assert [response.elapsed.total_seconds()] == elapsed
    assert server.half_sent.is_set()


@GETS
def test_a_verdict_is_believed_and_names_the_peer(bench: Workbench, server: Peer, get: Get) -> None:
    """A marked verdict books the call to the service's name, and later calls start out with it."""
    with bench.unit() as unit:
        get(f"{server.url}/verdict")
        account = unit.ledger.accounts["http:payments"]
        assert account.peer is not None
        assert "app.lock" == account.peer.peer.cause
        get(f"{server.url}/status/200")
        assert f"http:127.0.0.1:{server.server_address[1]}" not in unit.ledger.accounts


@GETS
def test_a_raised_status_leads_to_the_frame(bench: Workbench, server: Peer, get: Get) -> None:
    """The exception of `raise_for_status` leads to the failed frame of the call."""
    with bench.unit():
        response = get(f"{server.url}/status/503")
        with pytest.raises((httpx.HTTPStatusError, requests.HTTPError)) as raised:
            response.raise_for_status()
        frame = stamped(raised.value)
        assert frame is not None
        assert (True, f"http:127.0.0.1:{server.server_address[1]}") == (frame.failed, frame.resource)


@GETS
def test_a_body_that_breaks_off_is_a_failure_of_the_peer(bench: Workbench, server: Peer, get: Get) -> None:
    """An exception while reading the body is stamped with a failed frame of the peer."""
    with bench.unit():
        with pytest.raises((httpx.RemoteProtocolError, requests.exceptions.ChunkedEncodingError)) as raised:
            get(f"{server.url}/cut")
        frame = stamped(raised.value)
        assert frame is not None
        assert frame.failed


async def test_cancelled_while_reading_is_cancelled_not_failed(bench: Workbench, server: Peer) -> None:
    """A body read that is cancelled closes as cancelled: a lost hedge is nobody's failure."""
    with bench.unit() as unit:
        async with httpx.AsyncClient() as client:
            task = asyncio.ensure_future(client.get(f"{server.url}/slow-body"))
            await asyncio.to_thread(server.half_sent.wait, 10)
            while not unit.ledger.accounts:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert unit.ledger.last_failed is None


def test_a_refused_connection_is_stamped(bench: Workbench, server: Peer) -> None:
    """A connection error passes through unchanged, leads to its frame, and is named on the span."""
    server.server_close()
    with bench.unit(), pytest.raises(httpx.ConnectError) as raised:
        httpx.get(server.url)
    frame = stamped(raised.value)
    assert frame is not None
    assert frame.failed
    assert "ConnectError" == bench.named("GET")[0].attributes["error.type"]


def test_a_reply_can_still_be_pickled(bench: Workbench, server: Peer) -> None:
    """What we keep on a reply does not get in the way of caches that pickle it."""
    with bench.unit():
        reply = httpx.get(server.url)
        other = requests.get(server.url, timeout=10)
        assert (200, 200) == tuple(pickle.loads(pickle.dumps(r)).status_code for r in (reply, other))


@GETS
def test_a_bug_of_ours_does_not_reach_the_host(
    bench: Workbench, server: Peer, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When our own code raises before or after the call, the host still gets its reply."""
    from firstcause import _guard

    _guard.strict(False)
    monkeypatch.setattr(web, "redact_url", lambda url: 1 / 0)
    with bench.unit():
        assert 200 == get(server.url).status_code
    monkeypatch.undo()
    monkeypatch.setattr(bench.recorder, "heard", lambda *a: 1 / 0)
    with bench.unit():
        assert 200 == get(f"{server.url}/verdict").status_code


def test_without_a_recorder_nothing_changes(bench: Workbench, server: Peer) -> None:
    """Before `configure` the adapters pass calls through untouched."""
    from firstcause.clients import call

    call.RUNTIME.recorder = None
    httpx.get(server.url)
    requests.get(server.url, timeout=10)
    assert ([], []) == (bench.spans, [name for seen in server.seen for name in seen if name == "traceparent"])
