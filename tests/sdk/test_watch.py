"""The watch sees a stuck loop, names the function in the way, and sleeps while nothing is in flight."""

from __future__ import annotations

import asyncio
import threading
from time import perf_counter_ns

from firstcause._watch import LoopWatch, Watch
from firstcause.diagnosis.clock import LATE_NS


def block(until_ns: int) -> None:
    """Keep the loop's thread busy."""
    while perf_counter_ns() < until_ns:
        pass


async def test_a_blocked_loop_is_measured_and_named() -> None:
    """At least half of a 300 ms block is accounted as loop lateness, under the name of the function."""
    watch = Watch()
    clock = watch.clock_for(asyncio.get_running_loop())
    watch.enter(1)
    try:
        answered = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: None)
        began = perf_counter_ns()
        block(began + 300_000_000)
        asyncio.get_running_loop().call_soon(answered.set_result, None)
        await answered
        blocked = perf_counter_ns() - began
        assert blocked / 2 <= clock.parts[0] <= blocked
        assert "block (sdk/test_watch.py" in clock.where
    finally:
        watch.leave(1)
        watch.stop()


async def test_a_question_that_is_answered_in_time_is_no_stall() -> None:
    """An idle loop withholds nothing."""
    watched = LoopWatch(asyncio.get_running_loop())
    now = perf_counter_ns()
    watched.ask(now)
    assert now == watched.clock.asked
    watched.clock.asked = perf_counter_ns() - LATE_NS // 100
    watched._answer()
    assert (0, 0) == (watched.clock.asked, watched.clock.parts[0])


def test_a_closed_loop_is_left_alone() -> None:
    """Asking a loop that is gone neither raises nor stays open."""
    loop = asyncio.new_event_loop()
    watched = LoopWatch(loop)
    loop.close()
    watched.ask(perf_counter_ns())
    assert 0 == watched.clock.asked


def test_a_thread_that_is_on_its_way_is_not_woken_again() -> None:
    """A busy interpreter lets it run late: the units that begin meanwhile are not each to ring for it."""
    watch, rung = Watch(), list[None]()
    watch._thread = threading.Thread()
    watch._wake.set = lambda: rung.append(None)  # type: ignore[method-assign]
    for unit in range(3):
        watch.enter(unit)
    assert 1 == len(rung)
