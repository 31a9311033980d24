"""aiohttp's client against a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

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


@pytest.fixture(name="session")
async def _session(bench: Workbench) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def _of(server: Peer) -> str:
    return f"http:127.0.0.1:{server.server_address[1]}"


async def test_a_call_is_a_span_and_time_of_the_peer(
    bench: Workbench, server: Peer, session: aiohttp.ClientSession
) -> None:
    """A request is one CLIENT span with the stable attributes under the unit's, and time of the peer."""
    with bench.unit() as unit:
        async with session.get(f"{server.url}/status/200?token=hush") as response:
            assert 20_000 == len(await response.read())
    (span,) = bench.named("GET")
    assert unit.span.span_id == span.parent_span_id
    assert {
        "http.request.method": "GET", "server.address": "127.0.0.1", "server.port": server.server_address[1],
        "url.full": f"{server.url}/status/200?token=[redacted]", "http.response.status_code": 200,
    } == span.attributes  # fmt: skip
    assert bench.calls[_of(server)] > 0
    seen = server.seen[0]
    assert (f"{span.span_id:016x}", "request-1") == (seen["traceparent"].split("-")[2], seen["x-request-id"])


async def test_a_base_url_is_followed(bench: Workbench, server: Peer) -> None:
    """A session's base URL is part of the address, and sessions made before are covered like those made after."""
    async with aiohttp.ClientSession(server.url) as session:
        with bench.unit():
            async with session.get("/status/404"):
                pass
    attributes = bench.named("GET")[0].attributes
    assert (f"{server.url}/status/404", "404") == (attributes["url.full"], attributes["error.type"])


async def test_a_slow_body_is_time_of_the_peer(bench: Workbench, server: Peer, session: aiohttp.ClientSession) -> None:
    """Waiting for the body after the headers is booked to the peer as well."""

    def release() -> None:
        server.half_sent.wait(10)
        threading.Event().wait(0.1)
        server.release.set()

    threading.Thread(target=release, daemon=True).start()
    with bench.unit():
        async with session.get(f"{server.url}/slow-body") as response:
            await response.read()
    assert bench.shares[_of(server)] > 60
    assert bench.shares["app"] < 60


async def test_a_redirect_takes_nothing_along(bench: Workbench, server: Peer, session: aiohttp.ClientSession) -> None:
    """A call with its redirects is one span; a stranger on the way gets the trace context only."""
    bench.recorder.mesh = Mesh("key")
    bench.recorder.mesh.realm._known["localhost"] = False
    with bench.unit():
        async with session.get(f"{server.url}/away") as response:
            assert 200 == response.status
    ours, theirs = server.seen
    assert {"traceparent", "tracestate", "x-request-id"} <= set(ours)
    assert {"traceparent"} == {"traceparent", "tracestate", "x-request-id", "baggage"} & set(theirs)
    assert 1 == len(bench.named("GET"))


async def test_a_request_id_of_the_hosts_own_stays(
    bench: Workbench, server: Peer, session: aiohttp.ClientSession
) -> None:
    """An X-Request-ID that the application sets itself is what the peer gets."""
    with bench.unit():
        async with session.get(server.url, headers={"X-Request-ID": "mine"}):
            pass
    assert "mine" == server.seen[0]["x-request-id"]


@pytest.mark.parametrize(("status", "failed"), [(404, False), (503, True)])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_raised_status_leads_to_the_frame(
    bench: Workbench, server: Peer, status: int, failed: bool, at_once: bool
) -> None:
    """`raise_for_status`, asked for early or late, is stamped; a 4xx is no failure of the peer."""
    async with aiohttp.ClientSession(raise_for_status=at_once) as session:
        with bench.unit():
            with pytest.raises(aiohttp.ClientResponseError) as raised:
                async with session.get(f"{server.url}/status/{status}") as response:
                    response.raise_for_status()
            frame = stamped(raised.value)
            assert frame is not None
            assert (failed, _of(server)) == (frame.failed, frame.resource)
    assert str(status) == bench.named("GET")[0].attributes["error.type"]


async def test_the_clients_own_time_out_is_a_failure(
    bench: Workbench, server: Peer, session: aiohttp.ClientSession
) -> None:
    """aiohttp's total time-out is a failed, timed-out call."""
    with bench.unit():
        with pytest.raises(asyncio.TimeoutError) as raised:
            async with session.get(f"{server.url}/hang", timeout=aiohttp.ClientTimeout(total=0.05)):
                pass
        frame = stamped(raised.value)
        assert frame is not None
        assert (True, True) == (frame.failed, frame.timed_out)


async def test_cancelled_while_reading_is_cancelled_not_failed(
    bench: Workbench, server: Peer, session: aiohttp.ClientSession
) -> None:
    """A body read that is cancelled is nobody's failure."""

    async def fetch() -> None:
        async with session.get(f"{server.url}/slow-body") as response:
            await response.read()

    with bench.unit() as unit:
        task = asyncio.ensure_future(fetch())
        await asyncio.to_thread(server.half_sent.wait, 10)
        while not unit.ledger.accounts:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert unit.ledger.last_failed is None


async def test_a_refused_connection_is_stamped(bench: Workbench, server: Peer, session: aiohttp.ClientSession) -> None:
    """A connection error leads to its failed frame and is named on the span."""
    server.server_close()
    with bench.unit(), pytest.raises(aiohttp.ClientConnectionError) as raised:
        await session.get(server.url)
    frame = stamped(raised.value)
    assert frame is not None
    assert frame.failed
    assert type(raised.value).__name__ == bench.named("GET")[0].attributes["error.type"]


async def test_a_verdict_is_believed(bench: Workbench, server: Peer, session: aiohttp.ClientSession) -> None:
    """A proven verdict books the call under the service's name."""
    with bench.unit() as unit:
        async with session.get(f"{server.url}/verdict"):
            pass
        assert {"http:payments"} == set(unit.ledger.accounts)


async def test_a_wrong_address_is_the_librarys_business(bench: Workbench, session: aiohttp.ClientSession) -> None:
    """What aiohttp says of an address without a host is what the application hears."""
    with bench.unit(), pytest.raises(aiohttp.InvalidURL):
        await session.get("http://")


async def test_a_bug_of_ours_does_not_reach_the_host(
    bench: Workbench, server: Peer, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When our own code raises, the host still gets its reply."""
    _guard.strict(False)
    monkeypatch.setattr(web, "shown", lambda _url: 1 / 0)
    with bench.unit():
        async with session.get(server.url) as response:
            assert 20_000 == len(await response.read())
