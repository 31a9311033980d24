"""Huey on a real Redis, with its own consumer in this process."""

from __future__ import annotations

import pickle
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from huey import RedisHuey, crontab
from huey.exceptions import CancelExecution
from huey.serializer import SignedSerializer
from opentelemetry import baggage

from firstcause.clients import uninstrument_all
from firstcause.clients.huey import MARK
from firstcause.diagnosis.unit import Unit, UnitReport, current_unit
from tests.sdk.clients.workbench import Workbench

Make = Callable[..., RedisHuey]


@pytest.fixture(name="make")
def _make(bench: Workbench, redis_url: str) -> Make:
    def make(**options: Any) -> RedisHuey:
        return RedisHuey(f"mail{uuid.uuid4().hex[:6]}", url=redis_url, **options)

    return make


@contextmanager
def consuming(queue: RedisHuey) -> Iterator[None]:
    """Huey's own consumer, one worker thread, its scheduler looking every second."""
    consumer = queue.create_consumer(workers=1, initial_delay=0.01, max_delay=0.01, scheduler_interval=1)
    consumer._set_signal_handlers = lambda: None
    consumer.start()
    try:
        yield
    finally:
        consumer.stop(graceful=True)


def consumers(bench: Workbench) -> list[UnitReport]:
    """Reports of consumed messages."""
    return [report for report in bench.reports if report.kind == "consumer"]


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": True}, {"serializer": SignedSerializer(secret="s", compression=True)}],
    ids=["plain", "compressed", "signed"],
)
def test_a_message_carries_trace_request_and_baggage(
    bench: Workbench, make: Make, options: dict[str, Any]
) -> None:
    """A consumed message continues the trace with the request id and baggage, whatever wraps the pickle."""
    queue = make(**options)
    seen: list[tuple[Unit | None, object]] = []

    @queue.task()  # type: ignore[untyped-decorator]
    def send() -> int:
        seen.append((current_unit(), baggage.get_baggage("tenant")))
        return 7

    with bench.unit() as unit:
        unit.baggage = {"tenant": "blue"}
        result = send()
    with consuming(queue):
        assert 7 == result(blocking=True, timeout=10)
    (consumed, tenant) = seen[0]
    producer = bench.named(f"send {queue.name}")[0]
    assert consumed is not None
    assert (unit.span.trace_id, producer.span_id) == (consumed.span.trace_id, consumed.span.parent_span_id)
    assert ("request-1", "blue") == (consumed.request_id, tenant)
    assert ["ok"] == [report.outcome for report in consumers(bench)]


def test_publishing_is_time_of_the_queue(bench: Workbench, make: Make) -> None:
    """Enqueueing is booked to the queue, not to the Redis behind it."""
    queue = make()

    @queue.task()  # type: ignore[untyped-decorator]
    def send() -> None: ...

    with bench.unit() as unit:
        send()
        assert {f"queue:{queue.name}"} == set(unit.ledger.accounts)


def test_the_wait_in_the_queue_is_part_of_the_messages_wall(bench: Workbench, make: Make) -> None:
    """Time between publishing and reading is booked to the queue, and the shares still sum to the wall."""
    queue = make()

    @queue.task()  # type: ignore[untyped-decorator]
    def send() -> int:
        return 1

    with bench.unit():
        result = send()
    threading.Event().wait(0.15)
    with consuming(queue):
        result(blocking=True, timeout=10)
    (report,) = consumers(bench)
    assert report.shares[f"queue:{queue.name}"] > 140e6
    assert report.wall_ns == sum(report.shares.values())


def test_retries_and_delays_keep_the_trace(bench: Workbench, make: Make) -> None:
    """A delayed message that fails, is retried at once and then with a delay, stays in the trace that asked."""
    queue = make()
    done = threading.Event()
    runs: list[tuple[int, str]] = []

    @queue.task(retries=2)  # type: ignore[untyped-decorator]
    def send() -> None:
        unit = current_unit()
        assert unit is not None
        runs.append((unit.span.trace_id, unit.request_id))
        if len(runs) == 2:
            raise CancelExecution(retry=True)
        if len(runs) < 3:
            raise LookupError("not yet")
        done.set()

    with bench.unit() as unit:
        send.schedule(delay=0.01)
    with consuming(queue):
        assert done.wait(15)
    assert [(unit.span.trace_id, "request-1")] * 3 == runs
    reports = consumers(bench)
    assert ["error", "error", "ok"] == [report.outcome for report in reports]
    assert max(report.shares.get(f"queue:{queue.name}", 0) for report in reports[1:]) < 1e9


def test_giving_up_on_purpose_is_no_failure(bench: Workbench, make: Make) -> None:
    """CancelExecution that is not to be retried leaves the message's outcome alone."""
    queue = make()
    ran = threading.Event()

    @queue.task()  # type: ignore[untyped-decorator]
    def send() -> None:
        ran.set()
        raise CancelExecution

    with bench.unit():
        send()
    with consuming(queue):
        assert ran.wait(10)
    assert ["ok"] == [report.outcome for report in consumers(bench)]


def test_a_periodic_task_carries_each_times_own_context(bench: Workbench, make: Make) -> None:
    """Huey enqueues the same task object again and again: nothing of the last time stays on it."""
    queue = make()

    @queue.periodic_task(crontab())  # type: ignore[untyped-decorator]
    def tick() -> None: ...

    task = queue._registry.periodic_tasks[0]
    for _ in range(2):
        with bench.unit():
            queue.enqueue(task)
    first, second = (queue.dequeue()._firstcause for _ in range(2))
    assert first["traceparent"] != second["traceparent"]


def test_groups_are_published_task_by_task(bench: Workbench, make: Make) -> None:
    """A group has no name of its own: each of its tasks is a message with its carrier."""
    queue = make()

    @queue.task()  # type: ignore[untyped-decorator]
    def send(n: int) -> int:
        return n

    from huey.api import group

    with bench.unit():
        queue.enqueue(group([send.s(1), send.s(2)]))
    assert 2 == len(bench.named(f"send {queue.name}"))


def test_immediate_mode_is_a_message_of_its_own(bench: Workbench, make: Make) -> None:
    """In immediate mode the task runs inside the publish, and the publisher's unit is back afterwards."""
    queue = make(immediate=True)
    seen: list[Unit | None] = []

    @queue.task()  # type: ignore[untyped-decorator]
    def send() -> int:
        seen.append(current_unit())
        return 3

    with bench.unit() as unit:
        assert 3 == send()()
        assert unit is current_unit()
    assert seen[0] is not None
    assert (False, unit.span.trace_id) == (seen[0] is unit, seen[0].span.trace_id)


def test_consumers_without_us_read_the_message(bench: Workbench, make: Make) -> None:
    """The trailer is behind the pickle: a plain `pickle.loads` does not see it."""
    queue = make()

    @queue.task()  # type: ignore[untyped-decorator]
    def send() -> None: ...

    with bench.unit():
        send()
    uninstrument_all()
    (raw,) = queue.storage.enqueued_items()
    assert MARK in raw
    assert pickle.loads(raw).id == queue.dequeue().id
