"""The watch: one thread that looks at event loops, waits and the interpreter while work is in flight.

Idle processes pay nothing: the thread sleeps until a unit begins. Armed, it asks each loop every
20 ms to answer; the lateness of the answer is the stall, and while none comes the loop's stack is
read, so that the function in the way can be named. Waits for held resources are sampled too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from time import perf_counter_ns
from types import FrameType
from weakref import WeakKeyDictionary

from ._guard import guard
from .diagnosis.clock import LATE_NS, PROCESS, Clock, RunDelay
from .diagnosis.holders import WAITS

TICK_S = 0.02
GIL_LATE_NS = 3_000_000


class LoopWatch:
    """One event loop's clock, and the question that is on its way to it."""

    __slots__ = ("clock", "ident", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.clock = loop, Clock()
        self.ident = threading.get_ident()

    def ask(self, now: int) -> None:
        """Ask the loop to answer, or look at its stack while the last question is open."""
        clock = self.clock
        if clock.asked:
            if now - clock.asked >= TICK_S * 1e9:
                clock.seen_at(stuck_at(self.ident))
            return
        clock.ask(now)
        try:
            self.loop.call_soon_threadsafe(self._answer)
        except RuntimeError:
            clock.asked = 0  # the loop is closed

    def _answer(self) -> None:
        now, clock = perf_counter_ns(), self.clock
        late = now - clock.asked
        if late <= LATE_NS:
            clock.asked = 0
            return
        clock.stalled(late, clock.stuck)
        # A loop that is behind mostly stays so for a while: until the watch's next look it would go unmeasured.
        clock.ask(now)
        self.loop.call_soon(self._answer)


class Watch:
    """Process-wide; `enter` and `leave` around each unit arm and disarm it."""

    def __init__(self) -> None:
        # A set, whose changes are single steps: a count would want a lock around each.
        self._units: set[int] = set()
        self._wake = threading.Event()
        self._stop = False
        self._asleep = True
        """Whether the thread waits to be woken, or was never started."""
        self._thread: threading.Thread | None = None
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopWatch] = WeakKeyDictionary()

    def clock_for(self, loop: asyncio.AbstractEventLoop) -> Clock:
        """The clock of a running loop, made on its own thread at first use."""
        found = self._loops.get(loop)
        if found is None:
            found = self._loops[loop] = LoopWatch(loop)
        return found.clock

    @property
    def in_flight(self) -> int:
        """How many units are at work."""
        return len(self._units)

    def enter(self, unit: int) -> None:
        """A unit begins, by its id."""
        self._units.add(unit)
        if self._asleep:
            self._arm()

    def leave(self, unit: int) -> int:
        """A unit ended; returns how many were in flight, itself included."""
        units = self._units
        count = len(units)
        units.discard(unit)
        return count

    def _arm(self) -> None:
        if self._thread is None:
            PROCESS.install()
            self._thread = threading.Thread(target=self._run, name="firstcause-watch", daemon=True)
            self._thread.start()
        # At once, not when the thread gets to run: until then every unit would wake it again.
        self._asleep = False
        self._wake.set()

    def after_fork(self) -> None:
        """The child has neither the parent's thread nor its units."""
        # In place: this one object is imported by name everywhere.
        self.__init__()  # type: ignore[misc]

    def stop(self) -> None:
        """End the thread; for tests and shutdown."""
        self._stop = True
        self._wake.set()

    def _run(self) -> None:
        delay = RunDelay()
        pause = threading.Event()
        self._asleep = False
        while not self._stop:
            if not self._units and not WAITS:
                self._rest()
            # What this thread spends on a run queue is not the interpreter lock's doing.
            before, queued = perf_counter_ns(), delay.read()
            pause.wait(TICK_S)
            now = perf_counter_ns()
            with guard("watch"):
                self._look(now, now - before - int(TICK_S * 1e9) - (delay.read() - queued))

    def _rest(self) -> None:
        """Sleep until a unit begins."""
        self._wake.clear()
        self._asleep = True
        if not self._units:  # who began before the line above has not seen us asleep
            self._wake.wait()
        self._asleep = False

    def _look(self, now: int, late: int) -> None:
        if late > GIL_LATE_NS:
            PROCESS.gil_ns += late
        for watched in list(self._loops.values()):
            watched.ask(now)
        WAITS.tick(now)


def stuck_at(ident: int) -> str:
    """`function (file:line)` of a thread's innermost frame of the application, else of a library."""
    frame = sys._current_frames().get(ident)
    library = ""
    while frame is not None:
        if not _is_runtime(frame):
            if "site-packages" not in frame.f_code.co_filename:
                return place_of(frame)
            library = library or place_of(frame)
        frame = frame.f_back
    return library


def place_of(frame: FrameType) -> str:
    """`function (file:line)` with the last two parts of the file's path."""
    name = os.sep.join(frame.f_code.co_filename.split(os.sep)[-2:])
    return f"{frame.f_code.co_name} ({name}:{frame.f_lineno})"


_LIBRARY = (os.path.dirname(os.__file__), os.path.dirname(__file__))


def _is_runtime(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith("<") or name.startswith(_LIBRARY)


WATCH = Watch()
