"""Who holds what others wait for.

A wait is not a root: somebody holds the connection, the lock, the slot. While a unit waits, its
holders are looked at when the wait begins and every 50 ms; what they spend beyond their own
baseline is adopted by the wait, split by time over the holders. A holder whose unit has ended
(a leak), or one at its baseline, explains nothing: then the wait itself is the cause.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any

from .ledger import Frame, Ledger

EVERY_NS = 50_000_000
"""How often holders are looked at again while somebody waits (DESIGN: 50 ms)."""
DEPTH = 3
MOST = 64
"""Holders looked at per look; pools beyond that are sampled by their first ones."""
FLOOR_NS = 5_000_000
"""Spending less than this beyond the baseline is not worth adopting."""
ITSELF = ""


class Hold:
    """One holder: its unit, the frame it was in when it took the resource, and since when."""

    __slots__ = ("frame", "ledger", "since", "where")

    def __init__(self, frame: Frame | None, where: str) -> None:
        self.frame = frame
        self.ledger: Ledger | None = None if frame is None else frame.ledger
        self.since = perf_counter_ns()
        self.where = where


class Holders:
    """The holders of one bounded resource; adapters report them, waits read them."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        self._held: dict[int, Hold] = {}

    def acquired(self, frame: Frame | None, where: str = "") -> Hold:
        """Note that the unit of `frame` (None: nobody we know) got one; keep the result for `released`."""
        hold = Hold(frame, where)
        self._held[id(hold)] = hold
        return hold

    def released(self, hold: Hold) -> None:
        """Note that it was given back; a second release changes nothing."""
        self._held.pop(id(hold), None)

    def current(self) -> list[Hold]:
        """Who holds now, longest first, at most `MOST`."""
        # A dict keeps the order in which they came, so the cut spares the longest holders.
        return list(self._held.values())[:MOST]


class Waits:
    """The waits that are going on, sampled by the watch."""

    def __init__(self) -> None:
        self._going: dict[int, tuple[Frame, int]] = {}
        self._lock = threading.Lock()

    def begin(self, frame: Frame) -> None:
        """Look at the holders of `frame.holders` now, and again until `end`."""
        frame.adopted = {}
        with self._lock:
            self._going[id(frame)] = (frame, frame.start)
        # Worth next to nothing beside later looks, and enough to name the holders of a short wait.
        look(frame, 1)

    def end(self, frame: Frame) -> None:
        """The wait is over; what passed since the last look is shared out as the last look saw it."""
        with self._lock:
            going = self._going.pop(id(frame), None)
        if going is not None:
            look(frame, perf_counter_ns() - going[1])

    def tick(self, now: int) -> None:
        """Look again at every wait that is due."""
        with self._lock:
            due = [(frame, last) for frame, last in self._going.values() if now - last >= EVERY_NS]
            for frame, _last in due:
                self._going[id(frame)] = (frame, now)
        # Outside the lock: whoever begins or ends a wait must not wait for these looks.
        for frame, last in due:
            look(frame, now - last)

    def __bool__(self) -> bool:
        return bool(self._going)


WAITS = Waits()


def look(frame: Frame, weight_ns: int, depth: int = DEPTH, into: dict[str, list[Any]] | None = None) -> None:
    """Share `weight_ns` of the wait `frame` out over what its holders spend beyond their baseline.

    The result gathers in `frame.adopted`: resource (empty for the wait itself) to
    [nanoseconds, a holder's frame to quote]. Waits of holders are followed to `depth`.
    """
    adopted = frame.adopted if into is None else into
    if adopted is None or frame.holders is None:
        return
    holds = frame.holders.current()
    if not holds:
        _adopt(adopted, ITSELF, weight_ns, None)
        return
    each = weight_ns // len(holds)
    now = perf_counter_ns()
    for hold in holds:
        _look_at(hold, frame, each, depth, adopted, now)


def _look_at(
    hold: Hold, wait: Frame, weight_ns: int, depth: int, adopted: dict[str, list[Any]], now: int
) -> None:
    ledger = hold.ledger
    # A unit that holds one itself is in this very wait, which explains nothing.
    if ledger is None or ledger.ended or ledger is wait.ledger:
        _adopt(adopted, ITSELF, weight_ns, hold)
        return
    inner = ledger.innermost()
    if inner.holders is not None and depth > 1:
        look(inner, weight_ns, depth - 1, adopted)
        return
    beyond = ledger.spent(inner.resource, now) - _baseline(ledger).get(inner.resource, 0)
    _adopt(adopted, inner.resource if beyond > FLOOR_NS else ITSELF, weight_ns, inner)


def _baseline(ledger: Ledger) -> Mapping[str, int]:
    return {} if ledger.unit is None else ledger.unit.baseline()


def _adopt(adopted: dict[str, list[Any]], resource: str, weight_ns: int, quote: Any) -> None:
    entry = adopted.get(resource)
    if entry is None:
        adopted[resource] = [weight_ns, quote]
    else:
        entry[0] += weight_ns
        entry[1] = quote or entry[1]
