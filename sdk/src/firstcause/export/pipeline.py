"""A bounded queue and one daemon thread that exports it in batches; the host never waits for it.

What does not reach the collector is counted under `firstcause.self.dropped` with the reason:
`queue_full`, `rejected`, `unreachable`, `exception` or `shutdown`. Accepted and dropped add up to put.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar

from firstcause import _guard
from firstcause.export.reply import EXCEPTION, Reply

_Item = TypeVar("_Item")

RETRY_TOTAL_S = 60.0
"""A batch is given up after this long: newer telemetry is worth more than older."""
_BACKOFF_S = 1.0
_MAX_BACKOFF_S = 30.0
_PUBLISH_S = 1.0
"""While waiting for a retry, drops are published this often."""
_NEVER = sys.maxsize


def _nothing() -> None:
    return


class _Flush:
    __slots__ = ("done", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.done = threading.Event()


class Pipeline(Generic[_Item]):
    """Takes items from any thread, exports them as lists of at most `max_batch`.

    `export(batch)` runs in the pipeline's thread and returns a `Reply` or something true when the
    batch was accepted. Its attributes `abort()`, `close()`, `after_fork()` and `timeout_s` are used if
    present.
    `interval_s` is the longest an item waits for company.
    """

    def __init__(
        self,
        name: str,
        export: Callable[[list[_Item]], object],
        max_queue: int = 4096,
        max_batch: int = 512,
        interval_s: float = 1.0,
    ) -> None:
        self.name = name
        self._export = export
        self._max_queue = max_queue
        self._max_batch = max(1, min(max_batch, max_queue))
        self._interval_s = interval_s
        self._abort: Callable[[], None] | None = getattr(export, "abort", None)
        self._close: Callable[[], None] = getattr(export, "close", _nothing)
        self._retry_budget_s = max(0.0, RETRY_TOTAL_S - float(getattr(export, "timeout_s", 10.0)))
        self._closing = False
        self._deadline = 0.0
        self._reset()
        _pipelines.add(self)

    def _reset(self) -> None:
        self._queue: deque[_Item] = deque()
        # Re-entrant: shutdown may run in a signal handler that interrupted one of our own calls.
        self._lock = threading.RLock()
        # A held lock as a bell: releasing it neither blocks nor allocates, and is safe to do from a
        # signal handler or a finalizer, which Event.set is not.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._in_flight: list[_Item] | None = None
        self._flushes: list[_Flush] = []
        self._lost = 0
        self._failures = 0
        # next() on it is one atomic step, an attribute += is not: no drop is missed, no lock taken.
        self._overflow = itertools.count()
        self._overflow_seen = 0
        self._limit = 0 if self._closing else self._max_queue
        self._wake_at = 0  # who finds so many in the queue wakes the thread; the first put starts it

    def put(self, item: _Item) -> None:
        """Queue one item, or drop it when the queue is full. Never blocks, never raises."""
        queue = self._queue
        waiting = len(queue)
        if waiting >= self._limit:
            if self._closing:
                self._count("shutdown", 1)
            else:
                next(self._overflow)
            return
        queue.append(item)
        if waiting >= self._wake_at:
            self._wake()
        if self._closing:  # shutdown passed between the check and the append
            self._drop_queue()

    def flush(self, timeout_s: float) -> bool:
        """Export what is queued now. True when all of it was accepted within `timeout_s`."""
        with self._lock:
            if self._thread is None or self._done.is_set():
                return not self._queue
            lost = self._lost
            in_flight = self._in_flight
            wanted = _Flush(len(self._queue) + (len(in_flight) if in_flight else 0))
            self._flushes.append(wanted)
        self._ring()
        finished = wanted.done.wait(max(timeout_s, 0.0))
        self._publish()
        with self._lock:
            if wanted in self._flushes:
                self._flushes.remove(wanted)
        return finished and lost == self._lost

    def shutdown(self, timeout_s: float) -> bool:
        """Export what is queued and stop, within `timeout_s` whatever the collector does.

        What could not be sent is counted as dropped. True when nothing was lost meanwhile. Later
        puts are dropped; a second call only waits.
        """
        deadline = monotonic() + max(timeout_s, 0.0)
        lost = self._lost
        self.stop(timeout_s)
        started = self._thread is not None
        if started and not self._done.wait(max(self._deadline - monotonic(), 0.0)):
            with _guard.guard("export.pipeline.abort"):
                if self._abort is not None:
                    self._abort()
            self._done.wait(max(deadline - monotonic(), 0.0))
        self._forsake()
        self._publish()
        return lost == self._lost

    def stop(self, timeout_s: float) -> None:
        """Begin what `shutdown` then waits for, so that several pipelines can end at the same time."""
        deadline = monotonic() + max(timeout_s, 0.0)
        with self._lock:
            if not self._closing:
                # The end of the time is for the thread to come back from an aborted connection.
                self._deadline = deadline - min(0.2, max(timeout_s, 0.0) * 0.1)
                self._closing = True
                self._limit = 0
        self._ring()

    def after_fork(self) -> None:
        """In a child: forget the parent's queue, thread and locks; the first put starts anew."""
        self._reset()
        renew = getattr(self._export, "after_fork", None)
        if renew is not None:
            with _guard.guard("export.pipeline.after_fork"):
                renew()

    # --- the putting side ---

    def _wake(self) -> None:
        if self._thread is not None:
            self._wake_at = _NEVER
            self._ring()
            return
        with _guard.guard("export.pipeline.start"):
            self._start()

    def _start(self) -> None:
        # Whoever finds the lock taken leaves the start to its holder rather than wait.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._thread is not None or self._closing:
                return
            thread = threading.Thread(target=self._run, name=f"firstcause-{self.name}", daemon=True)
            self._thread = thread
            self._wake_at = _NEVER
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is going: the next put tries again
                self._thread = None
                self._wake_at = 0
                raise
        finally:
            self._lock.release()

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:  # rung already
            return

    # --- the thread ---

    def _run(self) -> None:
        try:
            while not self._closing:
                self._await_work()
                self._drain(len(self._queue))
                self._answer_flushes()
            while self._queue and monotonic() < self._deadline:
                self._drain(len(self._queue))
        except Exception as error:  # noqa: BLE001 - nothing of ours may end in the host's excepthook
            _guard.report("export.pipeline.run", error)
        finally:
            with _guard.guard("export.pipeline.close"):
                self._close()
            self._answer_flushes(everything=True)
            self._done.set()

    def _await_work(self) -> None:
        self._wake_at = self._max_batch - 1
        if len(self._queue) < self._max_batch and not self._closing and not self._flushes:
            self._bell.acquire(timeout=self._interval_s)
        self._wake_at = _NEVER
        self._publish()

    def _drain(self, amount: int) -> None:
        """Export `amount` items; what comes meanwhile waits for the next round, so that flushes end."""
        while amount > 0 and not (self._closing and monotonic() >= self._deadline):
            batch = self._take(min(amount, self._max_batch))
            if not batch:
                return
            amount -= len(batch)
            self._deliver(batch)

    def _take(self, size: int) -> list[_Item]:
        """Move items from the queue into flight; in one step, as seen by flush and shutdown."""
        batch: list[_Item] = []
        with self._lock:
            try:
                while len(batch) < size:
                    batch.append(self._queue.popleft())
            except IndexError:  # another thread dropped the rest
                pass
            self._in_flight = batch
        return batch

    def _deliver(self, batch: list[_Item]) -> None:
        give_up = monotonic() + self._retry_budget_s
        reply = self._attempt(batch)
        while reply.retry:
            delay_s = self._delay(reply)
            limit = min(give_up, self._deadline) if self._closing else give_up
            # At shutdown only a collector that names a time is worth waiting for.
            if monotonic() + delay_s >= limit or (self._closing and reply.retry_after_s is None):
                break
            self._pause(delay_s)
            reply = self._attempt(batch)
        self._settle(batch, reply)

    def _attempt(self, batch: list[_Item]) -> Reply:
        try:
            result = self._export(batch)
        except Exception as error:  # noqa: BLE001 - an exporter may be anybody's
            _guard.report(f"export.{self.name}", error)
            return EXCEPTION
        reply = (
            result if isinstance(result, Reply) else Reply(bool(result), reason="" if result else "rejected")
        )
        self._failures = 0 if reply.accepted else self._failures + 1
        return reply

    def _delay(self, reply: Reply) -> float:
        """Full jitter over a doubling wait that only success resets: a dead collector costs no CPU."""
        if reply.retry_after_s is not None:
            return reply.retry_after_s
        ceiling = min(_BACKOFF_S * 2.0 ** min(self._failures - 1, 10), _MAX_BACKOFF_S)
        return ceiling * random.uniform(0.5, 1.0)

    def _pause(self, delay_s: float) -> None:
        """Wait before a retry. A shutdown that begins meanwhile ends it: the batch gets its attempt now."""
        until = monotonic() + delay_s
        was_closing = self._closing
        while (left := until - monotonic()) > 0 and self._closing == was_closing:
            self._bell.acquire(timeout=min(left, _PUBLISH_S))
            self._publish()

    # --- the books ---

    def _settle(self, batch: list[_Item], reply: Reply) -> None:
        with self._lock:
            # Shutdown stopped waiting for this batch and has counted it.
            if self._in_flight is not batch:
                return
            self._in_flight = None
            for flush in self._flushes:
                flush.left -= len(batch)
        if not reply.accepted:
            self._count(reply.reason or "rejected", len(batch))
        elif reply.rejected:
            self._count("rejected", min(reply.rejected, len(batch)))
        self._answer_flushes()

    def _answer_flushes(self, *, everything: bool = False) -> None:
        with self._lock:
            for flush in [flush for flush in self._flushes if everything or flush.left <= 0]:
                self._flushes.remove(flush)
                flush.done.set()

    def _forsake(self) -> None:
        """Count what shutdown leaves behind."""
        with self._lock:
            batch, self._in_flight = self._in_flight, None
        if batch:
            self._count("shutdown", len(batch))
        self._drop_queue()

    def _drop_queue(self) -> None:
        if not self._done.is_set() and self._thread is not None and monotonic() < self._deadline:
            return  # the thread still takes it
        dropped = 0
        try:
            while True:
                self._queue.popleft()
                dropped += 1
        except IndexError:
            self._count("shutdown", dropped)

    def _publish(self) -> None:
        """Turn refused puts into the public count; reading the counter is one tick of it."""
        with self._lock:
            tick = next(self._overflow)
            dropped = tick - self._overflow_seen
            self._overflow_seen = tick + 1
        self._count("queue_full", dropped)

    def _count(self, reason: str, items: int) -> None:
        if not items:
            return
        with self._lock:
            self._lost += items
        _guard.count("firstcause.self.dropped", items, signal=self.name, reason=reason)


_pipelines: weakref.WeakSet[Pipeline[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    _guard.after_fork()
    for pipeline in list(_pipelines):
        pipeline.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
