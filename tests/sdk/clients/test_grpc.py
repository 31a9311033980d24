"""gRPC over a real socket: what a call costs the caller, what it is for the server, and how causes travel."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from firstcause.clients.grpc import INTERCEPTS_STREAMS
from firstcause.diagnosis.unit import UnitReport
from firstcause.trace.span import Span
from tests.sdk.clients import rpc
from tests.sdk.clients.workbench import Workbench
from tests.sdk.whole.sink import attributes, sink

ROOT = Path(__file__).resolve().parents[3]

KINDS = ["sync", "aio"] if INTERCEPTS_STREAMS else ["sync"]
"""Where streamed answers are watched."""
CHARGE, WATCH, TOTAL, ECHO = (f"{rpc.SERVICE}/{name}" for name in ("Charge", "Watch", "Total", "Echo"))


@pytest.fixture(name="channel")
def _channel(bench: Workbench) -> Iterator[Any]:
    server, target = rpc.serve()
    with grpc.insecure_channel(target) as channel:
        yield channel
    server.stop(0).wait()


@pytest_asyncio.fixture(name="achannel")
async def _achannel(bench: Workbench) -> AsyncIterator[Any]:
    server, target = await rpc.serve_async()
    async with grpc.aio.insecure_channel(target) as channel:
        yield channel
    await server.stop(0)


def served(bench: Workbench) -> list[UnitReport]:
    """Reports of served calls."""
    return [report for report in bench.reports if report.scheme == "grpc"]


def client_spans(bench: Workbench) -> list[Span]:
    """The ended CLIENT spans."""
    return [span for span in bench.spans if span.kind.name == "CLIENT"]


async def until(found: Any) -> Any:
    """What `found` returns once it is true: the server reports after it has answered."""
    for _ in range(2_000):
        if found():
            return found()
        await asyncio.sleep(0.005)
    raise AssertionError("not reported")


def wait(found: Any) -> Any:
    """The same for threads."""
    return asyncio.run(until(found))


def rpc_ms(bench: Workbench) -> float:
    """What the caller's unit spent on the peer."""
    return sum(ms for resource, ms in bench.shares.items() if resource.startswith("rpc:"))


def check_correlated(bench: Workbench, unit: Any) -> None:
    """One trace from the caller through the handler, with request id, session and the route."""
    (report,), (client,) = wait(lambda: served(bench)), client_spans(bench)
    handler = rpc.seen[-1]
    assert (unit.span.trace_id, client.span_id) == (handler.span.trace_id, handler.span.parent_span_id)
    assert ("request-1", "5e551011") == (report.request_id, report.session_id)
    assert (CHARGE, "", 200, "ok") == (report.route, report.method, report.status, report.outcome)
    assert report.wall_ns == sum(report.shares.values())
    assert ("grpc", CHARGE, "OK", "127.0.0.1") == tuple(
        client.attributes[name]
        for name in ("rpc.system.name", "rpc.method", "rpc.response.status_code", "server.address")
    )
    assert (CHARGE, "OK") == (handler.span.name, handler.span.attributes["rpc.response.status_code"])


def test_a_call_is_correlated(bench: Workbench, channel: Any) -> None:
    """Context, request id and session reach the handler's unit; both spans speak the conventions' names."""
    with bench.unit() as unit:
        unit.session_id = "5e551011"
        assert b"charged 1" == rpc.stub(channel, "Charge")(b"1")
    check_correlated(bench, unit)


async def test_an_async_call_is_correlated(bench: Workbench, achannel: Any) -> None:
    """The same for `grpc.aio`."""
    with bench.unit() as unit:
        unit.session_id = "5e551011"
        assert b"charged 1" == await rpc.stub(achannel, "Charge")(b"1")
    await until(lambda: served(bench))
    await asyncio.to_thread(check_correlated, bench, unit)


def cause(bench: Workbench) -> tuple[str, str, str]:
    """Outcome, cause and resource of the caller's unit."""
    (report,) = [report for report in bench.reports if report.route == "/work"]
    assert report.top is not None
    return report.outcome, report.top.cause, report.top.resource


def test_a_slow_peers_own_cause_travels_back(bench: Workbench, channel: Any) -> None:
    """The verdict comes in the trailing metadata, and the next call is booked to the peer's name."""
    with bench.unit():
        response, call = rpc.stub(channel, "Charge").with_call(b"slow")
    assert b"charged slow" == response
    assert "server-timing" in dict(call.trailing_metadata())
    (caller,) = [report for report in bench.reports if report.route == "/work"]
    assert caller.shares["rpc:shop"] >= 75e6
    (handled,) = wait(lambda: served(bench))
    assert handled.shares["lock:ledger"] >= 75e6


async def test_a_slow_async_peers_own_cause_travels_back(bench: Workbench, achannel: Any) -> None:
    """The same for `grpc.aio`."""
    with bench.unit():
        call = rpc.stub(achannel, "Charge")(b"slow")
        assert b"charged slow" == await call
    assert "server-timing" in [name for name, _ in await call.trailing_metadata()]
    assert bench.shares["rpc:shop"] >= 75


@pytest.mark.parametrize(
    ("request_", "code", "status", "outcome", "error_type"),
    [
        (b"raise", "UNKNOWN", 500, "error", "LookupError"),
        (b"abort", "UNAVAILABLE", 503, "error", "UNAVAILABLE"),
        (b"missing", "NOT_FOUND", 404, "ok", ""),
        (b"declined", "FAILED_PRECONDITION", 400, "ok", ""),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "aio"])
async def test_codes_say_whose_fault_it_is(
    bench: Workbench, channel: Any, achannel: Any, kind: str, request_: bytes, code: str, status: int, outcome: str,
    error_type: str,
) -> None:  # fmt: skip
    """Server errors are errors of the server and causes for the caller; the rest is what was asked."""
    error = None
    with bench.unit(500) as unit:
        try:
            if kind == "sync":
                await asyncio.to_thread(rpc.stub(channel, "Charge"), request_)
            else:
                await rpc.stub(achannel, "Charge")(request_)
        except grpc.RpcError as raised:
            error = unit.failure = raised
    assert error is not None
    assert code == error.code().name
    (report,) = await until(lambda: served(bench))
    assert (status, outcome, error_type) == (report.status, report.outcome, report.error_type)
    (client,) = client_spans(bench)
    assert (2, code) == (client.status_code, client.attributes["error.type"])
    _outcome, named, resource = cause(bench)
    if outcome == "error":
        assert ("app.exception", "rpc:shop") == (named, resource)
        assert "hunter2" not in str(bench.reports[-1].top)
    else:
        assert "app.exception" == named
    if request_ == b"declined":
        assert ("reason", "limit") in tuple(error.trailing_metadata())


@pytest.mark.parametrize("kind", ["sync", "aio"])
async def test_a_deadline_is_a_time_out_of_the_peer(bench: Workbench, channel: Any, achannel: Any, kind: str) -> None:
    """Giving up is a failure of the peer, named slow; the server sees that its caller's deadline passed."""
    with bench.unit(504) as unit:
        try:
            if kind == "sync":
                await asyncio.to_thread(lambda: rpc.stub(channel, "Charge")(b"late", timeout=0.1))
            else:
                await rpc.stub(achannel, "Charge")(b"late", timeout=0.1)
        except grpc.RpcError as raised:
            unit.failure = raised
    named = cause(bench)
    assert ("error", "dependency.slow") == named[:2]
    (report,) = await until(lambda: served(bench))
    assert (504, "error", "DEADLINE_EXCEEDED") == (report.status, report.outcome, report.error_type)


def test_a_future_is_booked_until_it_is_done(bench: Workbench, channel: Any) -> None:
    """A call that goes on beside own code is the peer's as long as it lasts."""
    with bench.unit():
        future = rpc.stub(channel, "Charge").future(b"slow")
        assert b"charged slow" == future.result()
        wait(lambda: client_spans(bench))
    assert rpc_ms(bench) >= 70


def test_waits_for_streamed_answers_are_the_peers(bench: Workbench, channel: Any) -> None:
    """Waiting for a message is booked, working on it is own code; the call object is still gRPC's."""
    import time

    with bench.unit():
        call = rpc.stub(channel, "Watch")(b"long")
        messages = []
        for message in call:
            messages.append(message)
            time.sleep(0.05)
        assert grpc.StatusCode.OK is call.code()
    assert [b"0", b"1", b"2"] == messages
    (span,) = client_spans(bench)
    assert (WATCH, "OK") == (span.name, span.attributes["rpc.response.status_code"])
    assert bench.shares["app"] >= 70
    (report,) = wait(lambda: served(bench))
    assert report.wall_ns >= 180e6
    assert 60e6 <= report.first_byte_ns < report.wall_ns


async def test_async_streams_are_read_as_without_us(bench: Workbench, achannel: Any) -> None:
    """Message by message up to the end, by which old versions of gRPC had a bug of their own with interceptors."""
    with bench.unit():
        call = rpc.stub(achannel, "Watch")(b"")
        assert b"0" == await call.read()
        assert b"1" == await call.read()
        assert b"2" == await call.read()
        assert grpc.aio.EOF is await call.read()


@pytest.mark.skipif(
    not INTERCEPTS_STREAMS, reason="pip install 'grpcio>=1.70': older ones cannot intercept streams well"
)
async def test_waits_for_async_streamed_answers_are_the_peers(bench: Workbench, achannel: Any) -> None:
    """The same for `grpc.aio`."""
    with bench.unit():
        async for _ in rpc.stub(achannel, "Watch")(b""):
            await asyncio.sleep(0.05)
    assert ["OK"] == [span.attributes["rpc.response.status_code"] for span in client_spans(bench)]
    assert bench.shares["app"] >= 70


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_breaks_is_a_failure(bench: Workbench, channel: Any, achannel: Any, kind: str) -> None:
    """An exception after two messages is the server's, and the caller's cause."""
    got: list[bytes] = []
    with bench.unit(500) as unit:
        try:
            if kind == "sync":
                for message in rpc.stub(channel, "Watch")(b"raise"):
                    got.append(message)
            else:
                async for message in rpc.stub(achannel, "Watch")(b"raise"):
                    got.append(message)
        except grpc.RpcError as raised:
            unit.failure = raised
    assert 2 == len(got)
    assert ("app.exception", "rpc:shop") == cause(bench)[1:]
    (report,) = await until(lambda: served(bench))
    assert ("error", "LookupError") == (report.outcome, report.error_type)


@pytest.mark.parametrize("kind", KINDS)
async def test_streams_up_and_both_ways_work(bench: Workbench, channel: Any, achannel: Any, kind: str) -> None:
    """Requests that are streamed arrive, and every call has its two spans."""

    async def requests() -> AsyncIterator[bytes]:
        for n in range(3):
            yield b"%d" % n

    with bench.unit():
        if kind == "sync":
            assert b"3" == rpc.stub(channel, "Total")(iter([b"0", b"1", b"2"]))
            assert [b"0", b"1", b"2"] == list(rpc.stub(channel, "Echo")(iter([b"0", b"1", b"2"])))
        else:
            assert b"3" == await rpc.stub(achannel, "Total")(requests())
            assert [b"0", b"1", b"2"] == [m async for m in rpc.stub(achannel, "Echo")(requests())]
    await until(lambda: len(served(bench)) == 2)
    assert {TOTAL: 200, ECHO: 200} == {report.route: report.status for report in served(bench)}
    assert [TOTAL, ECHO] == [span.name for span in client_spans(bench)]


async def test_the_writing_style_works(bench: Workbench, achannel: Any) -> None:
    """Requests written one by one, answers written to the context, handlers that are no coroutines."""
    with bench.unit():
        call = rpc.stub(achannel, "Total")()
        for n in range(3):
            await call.write(b"%d" % n)
        await call.done_writing()
        assert b"3" == await call
        assert [b"0", b"1", b"2"] == [m async for m in rpc.stub(achannel, "Written")(b"")]
        assert [b"0", b"1", b"2"] == [m async for m in rpc.stub(achannel, "Old")(b"")]
    await until(lambda: len(served(bench)) == 3)
    assert [200] * 3 == [report.status for report in served(bench)]
    assert (3 if INTERCEPTS_STREAMS else 1) == len(client_spans(bench))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reader_that_goes_away_is_no_failure(bench: Workbench, channel: Any, achannel: Any, kind: str) -> None:
    """A stream cancelled half-way ends its span and leaves the server a unit whose caller left."""
    with bench.unit():
        call = rpc.stub(channel if kind == "sync" else achannel, "Watch")(b"endless")
        assert b"0" == (next(call) if kind == "sync" else await call.read())
        call.cancel()
        del call
    report = (await until(lambda: served(bench)))[0]
    assert (499, "cancelled") == (report.status, report.outcome)
    (span,) = await until(lambda: client_spans(bench))
    assert "CANCELLED" == span.attributes["rpc.response.status_code"]
    assert "ok" == next(report.outcome for report in bench.reports if report.route == "/work")


def test_waiting_for_one_of_the_servers_threads_is_shown(bench: Workbench) -> None:
    """With one thread the second of two calls waited for it, not for its own work."""
    server, target = rpc.serve(workers=1)
    with grpc.insecure_channel(target) as channel:
        first, second = (rpc.stub(channel, "Charge").future(b"slow") for _ in range(2))
        assert [b"charged slow"] * 2 == [first.result(), second.result()]
        reports = wait(lambda: served(bench) if len(served(bench)) == 2 else None)
    server.stop(0).wait()
    assert max(report.shares.get("runtime:threadpool", 0) for report in reports) >= 50e6


def test_outside_units_nobody_pays(bench: Workbench, channel: Any) -> None:
    """Without a unit or a span there is no CLIENT span, and the server's unit is a root."""
    rpc.stub(channel, "Charge")(b"1")
    wait(lambda: served(bench))
    assert ([], 0) == (client_spans(bench), rpc.seen[-1].span.parent_span_id)


def test_health_probes_make_no_unit(bench: Workbench) -> None:
    """A probe every second, or a watch that lasts for ever, is no request."""
    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(1))
    check = grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"ok")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert b"ok" == channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    server.stop(None).wait()
    assert [] == bench.reports


def test_an_interceptor_of_the_users_stays(bench: Workbench) -> None:
    """Ours is put in front of those given, and not twice."""
    from firstcause.servers.grpc import ServerInterceptor, with_interceptors

    theirs = object()
    args, kwargs = with_interceptors((1,), {"interceptors": [theirs]}, 2, [ServerInterceptor()])
    assert (1, theirs) == (len(args), kwargs["interceptors"][1])
    assert (args, kwargs) == with_interceptors(args, kwargs, 2, [ServerInterceptor()])


def test_a_forged_verdict_changes_nothing(bench: Workbench) -> None:
    """Metadata of a peer that does not know the key is not believed."""
    from concurrent.futures import ThreadPoolExecutor

    def forge(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("server-timing", 'fc;desc="1.AAAA.0123456789abcdef"'),))
        return b""

    from firstcause.clients import grpc as clients
    from firstcause.servers import grpc as servers

    clients._patches.undo()
    servers.uninstrument()
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((rpc.handlers(forge, forge, forge, forge),))
    target = f"localhost:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    clients.instrument()
    with grpc.insecure_channel(target) as channel, bench.unit():
        rpc.stub(channel, "Charge")(b"")
    server.stop(0).wait()
    assert [f"rpc:{target}"] == [resource for resource in bench.calls if resource.startswith("rpc:")]


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        ("payments:50051", "payments", 50051), ("dns:///payments:443", "payments", 443), ("ipv4:10.0.0.1:1", "10.0.0.1", 1),
        ("ipv6:[::1]:7", "::1", 7), ("[::1]:7", "::1", 7), ("unix:/run/x.sock", "localhost", 0),
        ("unix:///run/x.sock", "localhost", 0), ("payments", "payments", 0), ("xds:///payments", "payments", 0),
    ],
)  # fmt: skip
def test_a_target_names_its_host(target: str, host: str, port: int) -> None:
    """Every form of a gRPC target leads to the name that a page can show."""
    from firstcause.clients.grpc import Peer

    assert (host, port) == (Peer(target).host, Peer(target).port)


def test_a_server_of_its_own_says_what_it_did(bench: Workbench) -> None:
    """A real process without a line of code for us but `configure`: canonical line, server span, and its verdict here."""
    with sink() as collector:
        environ = {
            **os.environ, "PYTHONPATH": f"{ROOT / 'sdk/src'}:{ROOT}:{os.environ.get('PYTHONPATH', '')}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50",
        }  # fmt: skip
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.sdk.clients.rpc"], env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            target = server.stdout.readline().strip()
            with grpc.insecure_channel(target) as channel, bench.unit(500) as unit:
                try:
                    rpc.stub(channel, "Charge")(b"raise")
                except grpc.RpcError as raised:
                    unit.failure = raised
            line = next(line for line in map(json.loads, server.stdout) if line["event"] == "request")
            (span,) = [one for one in collector.trace(f"{unit.span.trace_id:032x}") if one.kind == 2]
        finally:
            server.kill()
            server.wait()
            server.stdout.close()  # type: ignore[union-attr]
    assert (f"{unit.span.trace_id:032x}", "request-1", CHARGE, 500, "error", "LookupError") == (
        line["trace_id"], line["request_id"], line["route"], line["status"], line["outcome"], line["error_type"]
    )  # fmt: skip
    assert abs(sum(line["ledger"].values()) - line["duration_ms"]) < 0.01
    assert (CHARGE, "UNKNOWN") == (span.name, attributes(span.attributes)["rpc.response.status_code"])
    assert ("error", "app.exception", "rpc:payments") == cause(bench)
    top = bench.reports[-1].top
    assert top is not None
    assert ("payments", True) == (top.culprit, "charge (clients/rpc.py:" in top.detail)
