"""Time-outs of our own are failures; disconnects and lost hedges are nobody's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from firstcause.clients.call import Call
from firstcause.diagnosis.ledger import Frame, stamped
from tests.sdk.clients.workbench import Workbench

Slow = Callable[[], Awaitable[None]]
ENDLESS = "http:payments"


async def _timeout(call: Slow) -> None:
    async with asyncio.timeout(0.01):
        await call()


async def _wait_for(call: Slow) -> None:
    await asyncio.wait_for(call(), 0.01)


async def _no_time_at_all(call: Slow) -> None:
    """The task has begun when `wait_for` finds that there is no time left."""
    task = asyncio.ensure_future(call())
    await asyncio.sleep(0)
    await asyncio.wait_for(task, 0)


async def _fail_after(call: Slow) -> None:
    with anyio.fail_after(0.01):
        await call()


async def _gathered(call: Slow) -> None:
    async with asyncio.timeout(0.01):
        await asyncio.gather(call(), asyncio.sleep(0))


async def _waited_for_gathered(call: Slow) -> None:
    await asyncio.wait_for(asyncio.gather(call(), asyncio.sleep(0)), 0.01)


async def _group(call: Slow) -> None:
    async with asyncio.timeout(0.01), asyncio.TaskGroup() as group:
        group.create_task(call())  # type: ignore[arg-type]


async def _group_waited_for(call: Slow) -> None:
    async def inner() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(call())  # type: ignore[arg-type]

    await asyncio.wait_for(inner(), 0.01)


async def _anyio_group(call: Slow) -> None:
    with anyio.fail_after(0.01):
        async with anyio.create_task_group() as group:
            group.start_soon(call)  # type: ignore[arg-type]


TIMEOUTS = [
    _timeout, _wait_for, _no_time_at_all, _fail_after, _gathered, _waited_for_gathered, _group, _group_waited_for,
    _anyio_group,
]  # fmt: skip


class _Endless:
    """A call that takes for ever, and how it ended."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.frame: Frame | None = None
        self.error: BaseException | None = None

    async def __call__(self) -> None:
        try:
            with Call(ENDLESS, "GET", {}) as call:
                self.frame = call.frame
                self.begun.set()
                await asyncio.Event().wait()
        except BaseException as error:
            self.error = error
            raise

    @property
    def ended(self) -> tuple[bool, bool, bool]:
        """Failed, timed out, cancelled."""
        assert self.frame is not None
        return self.frame.failed, self.frame.timed_out, self.frame.cancelled


@pytest.mark.parametrize("limit", TIMEOUTS, ids=lambda f: f.__name__)
async def test_a_time_out_of_ours_is_a_failed_call(bench: Workbench, limit: Callable[[Slow], Awaitable[None]]) -> None:
    """Whatever cancels a call because its time is up makes it failed and timed out, and the span says so."""
    call = _Endless()
    with bench.unit() as unit:
        with pytest.raises(TimeoutError):
            await limit(call)
        assert unit.ledger.last_failed is call.frame
    assert (True, True, False) == call.ended
    assert call.error is not None
    assert stamped(call.error) is call.frame
    span = bench.named("GET")[0]
    assert (2, "TimeoutError") == (span.status_code, span.attributes["error.type"])


async def test_a_scope_that_moves_on_makes_the_call_fail(bench: Workbench) -> None:
    """`move_on_after` raises nothing, and the call was given up for lack of time all the same."""
    call = _Endless()
    with bench.unit(), anyio.move_on_after(0.01):
        await call()
    assert (True, True, False) == call.ended


async def test_a_lost_hedge_is_cancelled(bench: Workbench) -> None:
    """A task that is cancelled because another was faster is nobody's failure, also under a time limit."""
    call = _Endless()
    with bench.unit() as unit:
        async with asyncio.timeout(60):
            task = asyncio.ensure_future(call())
            await call.begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert unit.ledger.last_failed is None
    assert (False, False, True) == call.ended


async def test_a_request_that_is_given_up_is_cancelled(bench: Workbench) -> None:
    """A client that goes away cancels what runs under time limits that were not reached."""
    call = _Endless()

    async def request() -> None:
        with bench.unit():
            async with asyncio.timeout(60):
                await asyncio.wait_for(call(), 60)

    task = asyncio.ensure_future(request())
    await call.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (False, False, True) == call.ended


async def test_a_scope_that_is_cancelled_is_no_time_out(bench: Workbench) -> None:
    """anyio cancels by scopes as well when nobody waits any more; a far deadline changes nothing."""
    call = _Endless()
    with bench.unit(), anyio.move_on_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await call.begun.wait()
            group.cancel_scope.cancel()
    assert (False, False, True) == call.ended


async def test_what_outlives_a_time_limit_is_not_held_by_it(bench: Workbench) -> None:
    """A task begun under a limit that expired, and cancelled afterwards for another reason, is cancelled."""
    call = _Endless()
    with bench.unit():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                task = asyncio.ensure_future(call())
                await asyncio.Event().wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (False, False, True) == call.ended


async def test_outside_units_time_limits_are_left_alone(bench: Workbench) -> None:
    """Without a unit a time limit carries nothing of ours."""
    async with asyncio.timeout(60) as limit:
        assert "_firstcause" not in vars(limit)
    with bench.unit():
        async with asyncio.timeout(60) as limit:
            assert "_firstcause" in vars(limit)
        assert "_firstcause" not in vars(limit)
