"""What the runtime withheld: the stall clock.

A wait must not be billed for our own slowness: a 10 ms answer read by a busy event loop looks
like 300 ms. Each clock accumulates, in nanoseconds, the time in which ready work could not run:

    loop      a ready callback had to wait for the event loop, blocked or computing
    runqueue  this thread was runnable, and another one (of any process) had the core
    gc        collector pauses
    gil       lateness of the interpreter lock, as a sleeping thread sees it

Readings are immutable tuples in that order, replaced on every change, so that "nothing was
withheld" is one identity test.
"""

from __future__ import annotations

import gc
import os
import threading
from time import perf_counter_ns

Parts = tuple[int, int, int, int]
ZERO: Parts = (0, 0, 0, 0)
LATE_NS = 5_000_000
"""A loop that answers within this was scheduled as usual: no stall."""
REFRESH_NS = 2_000_000
"""Run-queue waits are read from the kernel at most this often per clock (a read costs about 1 µs)."""
COARSE_NS = 100_000
"""Less than this is booked with what comes next: every change makes all requests in flight settle at length."""
FADE_NS = 1_000_000_000
"""How fast the place of a long stall gives way to that of a shorter one."""
NAMES = ("runtime:loop", "runtime:runqueue", "runtime:gc", "runtime:gil")


class RunDelay:
    """Nanoseconds the *calling thread* waited on a run queue (Linux `schedstat`, field two).

    `read` returns 0 where the kernel does not tell, so callers need no special case.
    """

    def __init__(self) -> None:
        try:
            # The link is followed when it is opened: from then on the descriptor speaks of this thread.
            self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def read(self) -> int:
        """The total so far; ask only on the thread that made this object."""
        if self._fd < 0:
            return 0
        try:
            return int(os.pread(self._fd, 96, 0).split()[1])
        except (OSError, ValueError, IndexError):
            return 0

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class Process:
    """Collector pauses and interpreter-lock lateness of the whole process, fed by `install` and the watch."""

    def __init__(self) -> None:
        self.gc_ns = 0
        self.gil_ns = 0
        self._began = 0
        self._installed = False

    def install(self) -> None:
        """Start counting collector pauses; safe to call again."""
        if not self._installed:
            self._installed = True
            gc.callbacks.append(self._collected)

    def _collected(self, phase: str, _info: object) -> None:
        if phase == "start":
            self._began = perf_counter_ns()
        elif self._began:
            self.gc_ns += perf_counter_ns() - self._began


PROCESS = Process()
_local = threading.local()


class Clock:
    """The stall readings one thread of execution sees; one per event loop, one per worker thread."""

    __slots__ = (
        "_delay", "_gc", "_gil", "_ident", "_runqueue", "_votes", "_worst", "_worst_at",
        "asked", "due", "parts", "stuck", "where",
    )  # fmt: skip

    def __init__(self) -> None:
        self.parts: Parts = ZERO
        self.asked = 0
        """When the watch asked the loop for an answer that is still to come; 0 when none is."""
        self.stuck = ""
        """Where the loop has been stuck since it was asked (function and line)."""
        self._votes = 0
        self._worst = self._worst_at = 0
        self.where = ""
        """Where it was stuck before."""
        self._ident = threading.get_ident()
        self._delay = RunDelay()
        self._runqueue = self._delay.read()
        self._gc, self._gil = PROCESS.gc_ns, PROCESS.gil_ns
        self.due = 0
        """When the kernel is asked again; until then, and while nothing is `asked`, `parts` is what `read` returns."""

    def ask(self, now: int) -> None:
        """Note that the loop is asked now; nobody knows yet where it is stuck."""
        self.asked, self.stuck, self._votes = now, "", 0

    def seen_at(self, where: str) -> None:
        """One look at the loop's stack while no answer comes; the place seen most is kept (Boyer and Moore's vote)."""
        if not where:
            return
        if self._votes == 0:
            self.stuck = where
        self._votes += 1 if where == self.stuck else -1

    def stalled(self, ns: int, where: str = "") -> None:
        """Add loop lateness seen by the watch; call on the loop's own thread."""
        loop, runqueue, collector, gil = self.parts
        self.parts = (loop + ns, runqueue, collector, gil)
        now = perf_counter_ns()
        # A short stall does not take the name of a long one at once: that halves every second.
        if where and ns >= self._worst >> min(62, (now - self._worst_at) // FADE_NS):
            self.where, self._worst, self._worst_at = where, ns, now

    def place(self) -> str:
        """Where the loop is stuck now, else where it last was for long: a verdict's detail."""
        return (self.stuck if self.asked else "") or self.where

    def read(self, now: int) -> Parts:
        """The readings at `now`, refreshed from the kernel when due and on the clock's own thread."""
        if now >= self.due and threading.get_ident() == self._ident:
            self._refresh(now)
        asked = self.asked
        if asked and now - asked > LATE_NS:
            # Whoever blocks the loop reads its clock before the loop can say that it was late.
            loop, runqueue, collector, gil = self.parts
            return (loop + now - asked, runqueue, collector, gil)
        return self.parts

    def _refresh(self, now: int) -> None:
        self.due = now + REFRESH_NS
        runqueue, pauses, lateness = self._delay.read(), PROCESS.gc_ns, PROCESS.gil_ns
        waited, paused, late = runqueue - self._runqueue, pauses - self._gc, lateness - self._gil
        if waited + paused + late > COARSE_NS:
            self._runqueue, self._gc, self._gil = runqueue, pauses, lateness
            loop, before, collector, gil = self.parts
            self.parts = (loop, before + max(0, waited), collector + max(0, paused), gil + max(0, late))


def thread_clock() -> Clock:
    """The calling thread's own clock, for code that runs without an event loop."""
    clock: Clock | None = getattr(_local, "clock", None)
    if clock is None or clock._ident != threading.get_ident():
        clock = _local.clock = Clock()
    return clock


def withheld(before: Parts, after: Parts, wall: int) -> tuple[int, Parts]:
    """How much of `wall` the runtime withheld between two readings, and by which part.

    Loop lateness contains run-queue waits, pauses and lock lateness of the loop's own thread,
    so those are taken off it first; the sum never exceeds `wall`.
    """
    left = wall
    runqueue = min(left, after[1] - before[1])
    left -= runqueue
    collector = min(left, after[2] - before[2])
    left -= collector
    loop = min(left, max(0, after[0] - before[0] - runqueue - collector))
    left -= loop
    gil = min(left, max(0, after[3] - before[3] - runqueue - collector - loop))
    return wall - left + gil, (loop, runqueue, collector, gil)


def remaining(first: Parts, last: Parts, taken: Parts) -> Parts:
    """What was withheld between two readings and is not in `taken` yet; each part as `withheld` expects it."""
    loop, runqueue, collector, gil = (max(0, y - x) for x, y in zip(first, last, strict=True))
    inside = taken[1] + taken[2]
    return (
        max(0, loop - taken[0] - inside), max(0, runqueue - taken[1]), max(0, collector - taken[2]),
        max(0, gil - taken[3] - taken[0] - inside),
    )  # fmt: skip
