"""The pipeline loses nothing uncounted and never holds the host, whatever the collector does."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import pytest

from firstcause import _guard
from firstcause.export.http import OtlpHttpExporter, SignalExport
from firstcause.export.otlp import encode_spans
from firstcause.export.pipeline import Pipeline
from firstcause.export.reply import Reply
from tests.sdk.export.loopback import Answer, black_hole, collector, raw_server, read_request, refusing_url
from tests.sdk.export.test_otlp import Span

BOUND_S = 3.0
"""What `shutdown(2.0)` may take on a busy machine."""


def _pipeline(url: str, **options: float) -> Pipeline[Span]:
    export = SignalExport({"service.name": "test"}, encode_spans, OtlpHttpExporter(url, {}))
    return Pipeline("traces", export, **options)  # type: ignore[arg-type]


def _dropped() -> dict[str, int]:
    """Dropped items by reason."""
    return {
        dict(attributes)["reason"]: amount
        for (name, attributes), amount in _guard.self_counts().items()
        if name == "firstcause.self.dropped"
    }


def _put(pipeline: Pipeline[Span], amount: int) -> None:
    for number in range(amount):
        pipeline.put(Span(name=str(number)))


def _timed_shutdown(pipeline: Pipeline[Span]) -> tuple[bool, float]:
    began = time.monotonic()
    whole = pipeline.shutdown(2.0)
    return whole, time.monotonic() - began


def test_everything_put_arrives_once_in_order() -> None:
    """A healthy collector gets every item, in order, over one kept connection."""
    with collector() as server:
        pipeline = _pipeline(server.url)
        _put(pipeline, 2000)
        assert pipeline.flush(5)
        _put(pipeline, 1)
        assert (True, {}) == (pipeline.shutdown(2.0), _dropped())
        assert [*map(str, range(2000)), "0"] == server.accepted
        assert 1 == server.connections


def test_an_item_waits_no_longer_than_the_interval() -> None:
    """A lone item is exported without flush or a full batch."""
    with collector() as server:
        pipeline = _pipeline(server.url, interval_s=0.01)
        _put(pipeline, 1)
        assert server.seen.acquire(timeout=5)
        pipeline.shutdown(2.0)


def test_a_full_batch_does_not_wait_for_the_interval() -> None:
    """With max_batch items waiting the thread wakes at once."""
    with collector() as server:
        pipeline = _pipeline(server.url, interval_s=600.0, max_batch=8)
        _put(pipeline, 1)
        assert pipeline.flush(5)
        assert server.seen.acquire(timeout=5)
        _put(pipeline, 8)
        assert server.seen.acquire(timeout=5)
        pipeline.shutdown(2.0)


def test_a_full_queue_drops_the_newest_and_counts_them() -> None:
    """While an export hangs, what exceeds the queue is dropped, counted and not waited for."""
    entered, release = threading.Event(), threading.Event()
    got: list[int] = []

    def export(batch: list[int]) -> bool:
        entered.set()
        release.wait(10)
        got.extend(batch)
        return True

    pipeline: Pipeline[int] = Pipeline("traces", export, max_queue=10, max_batch=1)
    pipeline.put(0)
    assert entered.wait(5)
    for number in range(1, 31):
        pipeline.put(number)
    release.set()
    assert not pipeline.shutdown(2.0)
    assert ([*range(11)], {"queue_full": 20}) == (got, _dropped())


def test_putting_from_many_threads_loses_nothing_uncounted() -> None:
    """Accepted and dropped add up to put under contention, a shutdown in the midst included."""
    got: list[int] = []

    def export(batch: list[int]) -> bool:
        got.extend(batch)
        return True

    pipeline: Pipeline[int] = Pipeline("traces", export, max_queue=64, max_batch=16, interval_s=0.01)
    half = threading.Barrier(5)

    def work() -> None:
        for number in range(3000):
            if number == 1500:
                half.wait(10)
            pipeline.put(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    half.wait(10)
    pipeline.shutdown(2.0)
    for thread in threads:
        thread.join(10)
    pipeline.shutdown(0)
    assert 12_000 == len(got) + sum(_dropped().values())


def test_a_refusing_collector_costs_the_items_and_no_time() -> None:
    """With nobody listening, shutdown ends well within its bound and every item is counted."""
    pipeline = _pipeline(refusing_url())
    _put(pipeline, 1200)
    whole, took_s = _timed_shutdown(pipeline)
    assert (False, {"unreachable": 1200}) == (whole, _dropped())
    assert took_s < BOUND_S


def test_a_black_hole_does_not_hold_shutdown() -> None:
    """A collector that never answers is hung up on; what it was sent counts as lost."""
    with raw_server(black_hole) as (url, came):
        pipeline = _pipeline(url)
        _put(pipeline, 1200)
        assert came.wait(5)
        whole, took_s = _timed_shutdown(pipeline)
        assert (False, {"shutdown": 1200}) == (whole, _dropped())
        assert took_s < BOUND_S
        # The thread came back from the aborted connection: nothing lingers.
        assert pipeline._done.wait(5)


def test_an_export_that_cannot_be_aborted_is_abandoned() -> None:
    """Shutdown leaves a thread that never returns, and counts its batch once."""
    entered, release = threading.Event(), threading.Event()

    def export(batch: list[int]) -> bool:
        entered.set()
        return release.wait(30)

    pipeline: Pipeline[int] = Pipeline("traces", export, max_batch=1)
    pipeline.put(1)
    assert entered.wait(5)
    pipeline.put(2)
    assert not pipeline.shutdown(0.2)
    assert {"shutdown": 2} == _dropped()
    release.set()
    assert pipeline._done.wait(5)
    assert {"shutdown": 2} == _dropped()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((503, {}, b"busy"), "rejected"),
        ((400, {}, b"no"), "rejected"),
        ((302, {"Location": "/elsewhere"}, b""), "rejected"),
    ],
)
def test_refused_batches_are_counted(answer: Answer, reason: str) -> None:
    """Any status but success loses the batch at shutdown, counted with its reason."""
    with collector(answer) as server:
        pipeline = _pipeline(server.url)
        _put(pipeline, 700)
        whole, took_s = _timed_shutdown(pipeline)
        assert (False, {reason: 700}, []) == (whole, _dropped(), server.accepted)
        assert took_s < BOUND_S


def test_an_overloaded_collector_gets_the_batch_again() -> None:
    """After 429 with Retry-After and after 503 the same batch is sent again and nothing is lost."""
    answers: tuple[Answer, ...] = ((429, {"Retry-After": "0"}, b""), (503, {}, b""))
    with collector(answers=answers) as server:
        pipeline = _pipeline(server.url)
        _put(pipeline, 3)
        assert pipeline.flush(10)
        assert (["0", "1", "2"], {}) == (server.accepted, _dropped())
        pipeline.shutdown(2.0)


def test_a_long_retry_after_yields_to_shutdown() -> None:
    """A collector asking for an hour does not delay shutdown: at most one last attempt, then the count."""
    with collector((429, {"Retry-After": "3600"}, b"")) as server:
        pipeline = _pipeline(server.url, interval_s=0.01)
        _put(pipeline, 5)
        assert server.seen.acquire(timeout=5)
        whole, took_s = _timed_shutdown(pipeline)
        assert (False, {"rejected": 5}) == (whole, _dropped())
        assert took_s < BOUND_S
        # One only, when shutdown came before the first answer was read.
        assert len(server.headers) <= 2


def test_partial_success_is_counted() -> None:
    """Spans the collector refuses inside a success are counted; a garbage body is ignored."""
    partial = b"\x0a\x07\x08\x02\x12\x03bad"
    with collector(answers=((200, {}, partial), (200, {}, b"\xff\xff<html>"))) as server:
        pipeline = _pipeline(server.url)
        _put(pipeline, 5)
        assert not pipeline.flush(5)
        _put(pipeline, 5)
        assert pipeline.flush(5)
        pipeline.shutdown(2.0)
        assert {"rejected": 2} == _dropped()


def _garbage(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)
    connection.sendall(b"\x00\xff garbage\r\n\r\n")


def _close(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)


def _close_mid_body(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\n\r\nhalf")


@pytest.mark.parametrize(
    ("talk", "reason"), [(_garbage, "rejected"), (_close, "unreachable"), (_close_mid_body, "rejected")]
)
def test_broken_answers_are_counted(
    talk: Callable[[socket.socket, threading.Event], None], reason: str
) -> None:
    """Garbage, silence and a cut answer lose the batch, counted, and nothing raises."""
    with raw_server(talk) as (url, _):
        pipeline = _pipeline(url)
        _put(pipeline, 600)
        whole, took_s = _timed_shutdown(pipeline)
        assert (False, {reason: 600}) == (whole, _dropped())
        assert took_s < BOUND_S


def test_an_exporter_that_raises_is_counted() -> None:
    """An exception of the exporter loses its batch only, and the thread lives on."""
    calls: list[list[int]] = []

    def export(batch: list[int]) -> bool:
        calls.append(batch)
        if len(calls) == 1:
            raise RuntimeError("broken")
        return True

    pipeline: Pipeline[int] = Pipeline("traces", export)
    pipeline.put(1)
    assert not pipeline.flush(5)
    pipeline.put(2)
    assert pipeline.flush(5)
    pipeline.shutdown(2.0)
    assert ([[1], [2]], {"exception": 1}) == (calls, _dropped())


def test_flush_ends_with_its_time() -> None:
    """Flush against a black hole returns False within its time."""
    with raw_server(black_hole) as (url, came):
        pipeline = _pipeline(url)
        _put(pipeline, 1)
        assert not pipeline.flush(0.1)
        assert came.wait(5)
        pipeline.shutdown(0.1)


def test_an_unused_pipeline_has_no_thread_and_ends_at_once() -> None:
    """Nothing put: no thread, flush and shutdown succeed."""
    pipeline: Pipeline[int] = Pipeline("traces", lambda batch: True)
    assert pipeline.flush(0)
    assert pipeline.shutdown(0)
    assert pipeline._thread is None


def test_puts_after_shutdown_are_counted() -> None:
    """A closed pipeline drops what comes, with the reason shutdown."""
    pipeline: Pipeline[int] = Pipeline("traces", lambda batch: True)
    assert pipeline.shutdown(2.0)
    pipeline.put(1)
    assert {"shutdown": 1} == _dropped()


def test_dead_collector_costs_no_cpu() -> None:
    """With the queue full and nobody listening the thread sleeps: attempts stay few, put stays cheap."""
    attempts = threading.Semaphore(0)

    def export(batch: list[int]) -> Reply:
        attempts.release()
        return Reply(False, retry=True, reason="unreachable")

    pipeline: Pipeline[int] = Pipeline("traces", export, max_queue=100, max_batch=10)
    pipeline.put(0)
    assert attempts.acquire(timeout=5)
    began, cpu = time.monotonic(), time.process_time()
    for number in range(200_000):
        pipeline.put(number)
    cpu_us = (time.process_time() - cpu) / 200_000 * 1e6
    assert cpu_us < 5
    # A wait of at least half a second lies between two attempts.
    waited_s = time.monotonic() - began
    more = 0
    while attempts.acquire(blocking=False):
        more += 1
    assert more <= waited_s / 0.5 + 1
    pipeline.shutdown(0.5)
    assert 200_001 == sum(_dropped().values())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_exports_its_own_items_only() -> None:
    """After fork the child forgets the parent's queue and connection, and exports with a new thread."""
    with collector() as server:
        pipeline = _pipeline(server.url, interval_s=600.0)
        pipeline.put(Span(name="first"))
        assert pipeline.flush(5)
        pipeline.put(Span(name="parent"))
        child = os.fork()
        if child == 0:
            pipeline.put(Span(name="child"))
            os._exit(0 if pipeline.flush(5) and pipeline.shutdown(2.0) else 1)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ["first", "child"] == server.accepted
        assert pipeline.shutdown(2.0)
        assert ["first", "child", "parent"] == server.accepted
