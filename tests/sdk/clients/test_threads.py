"""Context through threads, executors and timers, and not beyond the request."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import anyio.to_thread

from firstcause.diagnosis.ledger import FRAME, Frame
from firstcause.diagnosis.unit import Unit, current_unit
from tests.sdk.clients.workbench import Workbench


def test_submitted_work_belongs_to_the_unit(bench: Workbench) -> None:
    """`submit` and `map` carry the context."""
    with bench.unit() as unit, ThreadPoolExecutor(1) as pool:
        assert unit is pool.submit(current_unit).result(5)
        assert [unit, unit] == list(pool.map(lambda _n: current_unit(), range(2)))


def test_a_worker_started_for_a_unit_does_not_stay_in_it(bench: Workbench) -> None:
    """What is submitted outside units afterwards runs outside, on the same worker thread."""
    with ThreadPoolExecutor(1) as pool:
        with bench.unit():
            pool.submit(current_unit).result(5)
        assert pool.submit(FRAME.get).result(5) is None


async def test_run_in_executor_belongs_to_the_unit(bench: Workbench) -> None:
    """The loop's default executor carries the context."""
    with bench.unit() as unit:
        assert unit is await asyncio.get_running_loop().run_in_executor(None, current_unit)


def test_threads_and_timers_belong_to_the_unit(bench: Workbench) -> None:
    """`Thread` with a target, a subclass with `run`, and `Timer` carry the context."""
    seen: list[Unit | None] = []

    class Own(threading.Thread):
        def run(self) -> None:
            seen.append(current_unit())

    with bench.unit() as unit:
        threads = [
            threading.Thread(target=lambda: seen.append(current_unit())),
            Own(),
            threading.Timer(0, lambda: seen.append(current_unit())),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
    assert [unit, unit, unit] == seen


def test_a_thread_that_ended_keeps_nothing_of_the_request(bench: Workbench) -> None:
    """A kept thread object does not keep the context it ran in."""

    class Body:
        pass

    def serve() -> tuple[threading.Thread, weakref.ref[Body]]:
        body = Body()
        with bench.unit() as unit:
            unit.baggage = {"body": body}  # type: ignore[dict-item]
            thread = threading.Thread(target=current_unit)
            thread.start()
            thread.join(5)
        return thread, weakref.ref(body)

    thread, body = serve()
    bench.reports.clear()
    gc.collect()
    assert body() is None
    assert "run" not in vars(thread)


def test_a_thread_outside_units_is_left_alone(bench: Workbench) -> None:
    """Without a unit nothing is wrapped."""
    thread = threading.Thread(target=current_unit)
    thread.start()
    assert "run" not in vars(thread)
    thread.join(5)


async def test_the_wait_for_a_worker_thread_is_booked(bench: Workbench) -> None:
    """Waiting for one of anyio's threads is `runtime:threadpool`; working in it is not."""
    limiter = anyio.CapacityLimiter(1)
    started, go = threading.Event(), threading.Event()

    def occupy() -> None:
        started.set()
        go.wait(5)

    busy = asyncio.create_task(anyio.to_thread.run_sync(occupy, limiter=limiter))
    await asyncio.to_thread(started.wait, 5)
    with bench.unit():
        asyncio.get_running_loop().call_later(0.1, go.set)
        frame: Frame | None = await anyio.to_thread.run_sync(FRAME.get, limiter=limiter)
        assert frame is not None
        assert "app" == frame.resource
    await busy
    assert bench.shares["runtime:threadpool"] > 80
