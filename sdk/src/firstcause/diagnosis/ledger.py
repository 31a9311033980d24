"""The ledger: where the wall time of one unit of work went.

Frames are opened around everything a unit waits for. While they nest without overlapping, each
one is settled as it closes: a microsecond and constant memory, however many. Where siblings
overlap they are kept until the winner is known (`settle`), at most `CAP` of them. Time with no
frame open is own code. The shares sum to the wall time exactly, because own code is the remainder.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from threading import Lock
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from .clock import NAMES, ZERO, Clock, Parts, remaining, withheld
from .settle import Node, Stamp, settle

if TYPE_CHECKING:
    from .holders import Holders

TARGETS = 32
"""Targets per resource kind; later ones are booked to `other`."""
CAP = 512
"""Overlapping frames kept undecided; beyond it, those still open are taken as completing."""

FRAME: ContextVar[Frame | None] = ContextVar("firstcause_frame", default=None)
"""The innermost open frame of this context, a unit's root when nothing else is open, None outside units."""


class Frame:
    """One wait: opened and closed once, by any thread of its unit."""

    # Defaults are class attributes: most frames never set them, and one is made per call.
    end = 0
    failed = cancelled = timed_out = False
    own = gap = 0
    mark: Stamp = (0, ZERO)
    """Where the undecided stretch of a recorded frame begins."""
    until: Stamp | None = None
    retry: tuple[str, int] | None = None
    peer: Any = None
    where = ""
    adopted: dict[str, list[Any]] | None = None

    def __init__(
        self, ledger: Ledger, parent: Frame | None, resource: str, detail: str, start: int, holders: Holders | None
    ) -> None:
        self.ledger, self.parent, self.resource, self.detail = ledger, parent, resource, detail
        self.start, self.holders = start, holders
        self.depth: int = 0 if parent is None else parent.depth + 1

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """A stamped exception may be pickled by a process pool; the frame stays behind."""
        return _left_behind, ()


class Root(Frame):
    """A unit's own code: one per unit, so what it has of every frame is said once."""

    parent, resource, detail, holders, depth = None, "app", "", None, 0

    def __init__(self, ledger: Ledger, start: int) -> None:
        self.ledger, self.start = ledger, start


def _left_behind() -> None:
    """What a frame is in another process."""


def leave(token: Token[Frame | None]) -> None:
    """Undo `FRAME.set`; in another context than it was done in there is nothing to undo.

    That is where a half-read generator ends: in whatever request the collector happened to run, or in
    the next copy of its own.
    """
    try:
        FRAME.reset(token)
    except ValueError:
        return


class Account:
    """What one resource cost a unit: nanoseconds, calls, and the frames a verdict wants to quote."""

    __slots__ = ("count", "failed", "longest", "longest_ns", "ns", "peer")

    def __init__(self) -> None:
        self.ns = self.count = self.longest_ns = 0
        self.longest: Frame | None = None
        self.failed: Frame | None = None
        self.peer: Frame | None = None
        """Of several calls, the one whose peer reported the largest excess."""


class Ledger:
    """One unit's ledger; all methods are safe to call from the unit's tasks and threads."""

    ended = False
    wall = 0
    last_failed: Frame | None = None
    _record: list[Frame] | None = None
    _now_open = 0
    _runtime: Parts = ZERO

    def __init__(self, clock: Clock, start: int, unit: Any = None) -> None:
        self.clock, self.start, self.unit = clock, start, unit
        self.accounts: dict[str, Account] = {}
        self.root: Frame
        self.leaf: Frame
        self.root = self.leaf = Root(self, start)
        self._lock = Lock()
        # What `read` returns while nothing is due, without the call: there is one unit per request.
        self._first = clock.parts if start < clock.due and not clock.asked else clock.read(start)
        self._mark: Stamp = (start, self._first)

    def credit(self, resource: str, ns: int) -> None:
        """Book time that passed before the unit could begin (ingress, a message waiting); moves the start back."""
        account = self.accounts[resource] = Account()
        account.ns = ns
        self.start -= ns

    def open(self, resource: str, detail: str, parent: Frame, holders: Holders | None = None) -> Frame | None:
        """Open a frame under `parent` (or its nearest open ancestor); None once the unit has ended."""
        with self._lock:
            if self.ended:
                return None
            now = perf_counter_ns()
            # A task's context is a copy: the frame it names may have been closed by whoever started the task.
            while parent.end and parent.parent is not None:
                parent = parent.parent
            frame = Frame(self, parent, resource, detail, now, holders)
            # Taken by whatever comes next: a pause with another call in it is no wait for a retry.
            retry, parent.retry = parent.retry, None
            if self._record is None:
                self._open_chained(frame, parent, now, retry)
            else:
                frame.mark = (now, self.clock.read(now))
                self._record.append(frame)
            self._now_open += 1
            return frame

    def _open_chained(self, frame: Frame, parent: Frame, now: int, retry: tuple[str, int] | None) -> None:
        self._advance(now)
        if parent is self.leaf:
            if retry is not None and retry[0] == frame.resource:
                frame.gap = now - retry[1]
            self.leaf = frame
        else:
            self._start_record()
            frame.mark = self._mark
            self._record.append(frame)  # type: ignore[union-attr]

    def _start_record(self) -> None:
        """From here on siblings overlap: nothing of the open chain is decided before it closes."""
        self._record = []
        frame: Frame | None = self.leaf
        while frame is not None and frame.parent is not None:
            frame.mark = self._mark
            self._record.append(frame)
            frame = frame.parent

    def _advance(self, now: int) -> None:
        """Book the time since the last event to the innermost frame, less what the runtime withheld."""
        parts = self.clock.read(now)
        if self.leaf is not self.root:
            self._book(self.leaf, self._mark, (now, parts))
        self._mark = (now, parts)

    def _book(self, frame: Frame, a: Stamp, b: Stamp) -> None:
        wall = b[0] - a[0]
        # Readings are replaced, never changed: the same object says that nothing was withheld.
        if a[1] is b[1]:
            frame.own += wall
            return
        before, after = a[1], b[1]
        taken, parts = withheld(before, after, wall)  # type: ignore[arg-type]
        frame.own += wall - taken
        self._runtime = tuple(map(int.__add__, self._runtime, parts))  # type: ignore[assignment]

    def close(self, frame: Frame, resource: str | None, failed: bool, cancelled: bool) -> None:
        """Close `frame`; the second close and one after the unit's end change nothing."""
        with self._lock:
            if frame.end or self.ended:
                return
            now = perf_counter_ns()
            if resource is not None:
                frame.resource = resource
            frame.failed, frame.cancelled = failed, cancelled
            if failed:
                self.last_failed = frame
            self._now_open -= 1
            if self._record is None:
                self._advance(now)
                if frame is self.leaf:
                    self._close_leaf(frame, now)
                    return
                # What is inside it is still open and outlives it, which has to be decided like overlap.
                self._start_record()
            frame.end = now
            frame.until = (now, self.clock.read(now))
            self._close_recorded(frame, now)

    def _close_leaf(self, frame: Frame, now: int) -> None:
        frame.end = now
        parent = frame.parent
        assert parent is not None
        self.leaf = parent
        if frame.failed:
            parent.retry = (frame.resource, now)
        if frame.gap:
            self._book_gap(frame, parent)
        self._flush(frame)

    def _book_gap(self, frame: Frame, parent: Frame) -> None:
        """The pause before a hand-written retry belongs to the call that is being retried."""
        frame.own += frame.gap
        if parent is not self.root:
            parent.own -= frame.gap

    def _close_recorded(self, frame: Frame, now: int) -> None:
        record = self._record
        assert record is not None
        if self._now_open == 0:
            self._settle(record, now)
            self._record, self.leaf = None, self.root
            return
        keeper = self._open_ancestor(frame)
        # One open chain is left, and what ended lies below its end: nothing to come changes who won.
        if self._only_open(keeper) and all(self._open_ancestor(f) is keeper for f in record if f.end):
            self._settle(record, now)
            self._record, self.leaf = None, keeper
        elif len(record) > CAP:
            self._settle(record, now)
            self._record = [f for f in record if not f.end]

    def _only_open(self, keeper: Frame) -> bool:
        """Whether the frames from `keeper` up to the root are all that is open."""
        chain = 0
        while keeper.parent is not None and not keeper.end:
            chain, keeper = chain + 1, keeper.parent
        return keeper.parent is None and chain == self._now_open

    @staticmethod
    def _open_ancestor(frame: Frame) -> Frame:
        while frame.end and frame.parent is not None:
            frame = frame.parent
        return frame

    def _settle(self, record: list[Frame], now: int) -> None:
        """Decide the recorded stretch up to `now` and forget it."""
        end: Stamp = (now, self.clock.read(now))
        for frame, (a, b) in settle(_tree(record, end), (self._mark, end)):
            self._book(frame, a, b)
        for frame in record:
            frame.mark = end
            if frame.end:
                self._flush(frame)
        self._mark = end

    def _flush(self, frame: Frame) -> None:
        """Move a closed frame's time to its resource's account."""
        account = self.accounts.get(frame.resource)
        if account is None:
            frame.resource = bounded(frame.resource)
            account = self.accounts.setdefault(frame.resource, Account())
        account.ns += frame.own
        account.count += 1
        if frame.own >= account.longest_ns:
            account.longest, account.longest_ns = frame, frame.own
        if frame.failed:
            account.failed = frame
        peer = frame.peer
        if peer is not None and (account.peer is None or peer.excess_ms >= account.peer.peer.excess_ms):
            account.peer = frame
        frame.own = 0

    def finish(self, now: int) -> dict[str, int]:
        """End the unit: discard open frames, settle, and return nanoseconds per resource (sums to `wall`)."""
        with self._lock:
            self.ended = True
            wall = now - self.start
            self.wall = wall = wall if wall > 0 else 0  # noqa: FURB136 - `max` costs eight times as much
            if self._record is not None:
                self._settle_without_open(now)
            elif not self.accounts:
                # Without a call and without a stall there is nothing to settle: all of it was own code.
                clock = self.clock
                parts = clock.parts if now < clock.due and not clock.asked else clock.read(now)
                if parts is self._first:
                    return {"app": wall}
            return self._shares(now)

    def _settle_without_open(self, now: int) -> None:
        record = self._record or []
        for frame in record:
            # Time that was decided for it before goes to the next ancestor that counts, else to own code.
            if not frame.end and frame.own:
                keeper = frame.parent
                while keeper is not None and not keeper.end:
                    keeper = keeper.parent
                if keeper is not None:
                    keeper.own += frame.own
                frame.own = 0
        closed = [frame for frame in record if frame.end]
        if closed:
            self._settle(closed, now)
        self._record = None

    def _shares(self, now: int) -> dict[str, int]:
        shares = {resource: account.ns for resource, account in self.accounts.items() if account.ns > 0}
        rest = self.wall - sum(shares.values()) - sum(self._runtime)
        parts = self._runtime
        last = self.clock.read(now)
        if last is not self._first and rest > 0:
            # A stall that a frame was too short for befell own code: whoever blocks the loop opens
            # the next frame before the loop can say how long it was blocked.
            taken, more = withheld(ZERO, remaining(self._first, last, parts), rest)
            rest -= taken
            parts = tuple(map(int.__add__, parts, more))  # type: ignore[assignment]
        for name, ns in zip(NAMES, parts, strict=True):
            if ns > 0:
                shares[name] = ns
        shares["app"] = rest
        return shares

    def forget(self) -> None:
        """Let go of what only a verdict needs, so that no cycle is left for the collector to find."""
        self.root = self.leaf = _OVER
        if self.accounts:  # without a call there is no frame either
            self.accounts = {}
            self.last_failed = None

    def so_far(self, now: int) -> dict[str, int]:
        """Nanoseconds per resource up to `now`, open frames as if they ended now; changes nothing."""
        with self._lock:
            shares = {resource: account.ns for resource, account in self.accounts.items()}
            if self._record is None:
                _add(shares, self.leaf, now - self._mark[0])
                frame = self.leaf
                while frame.parent is not None:
                    _add(shares, frame, frame.own)
                    frame = frame.parent
            else:
                end: Stamp = (now, self._mark[1])
                for frame, (a, b) in settle(_tree(self._record, end), ((self._mark[0], self._mark[1]), end)):
                    _add(shares, frame, b[0] - a[0])
            shares.update((name, ns) for name, ns in zip(NAMES, self._runtime, strict=True) if ns)
            shares["app"] = max(0, now - self.start - sum(ns for r, ns in shares.items() if r != "app"))
            return shares

    def innermost(self) -> Frame:
        """The frame the unit is in now (of overlapping ones the latest opened), its root in own code."""
        record = self._record
        if record is None:
            return self.leaf
        return next((frame for frame in reversed(record) if not frame.end), self.root)

    def spent(self, resource: str, now: int) -> int:
        """Nanoseconds spent on `resource` so far, an open frame of it included; approximate, lock-free."""
        account = self.accounts.get(resource)
        inner = self.innermost()
        running = now - inner.start if inner.resource == resource and inner is not self.root else 0
        if resource == "app":
            # A copy: no lock is held here, and the unit may open an account meanwhile.
            return now - self.start - sum(a.ns for a in list(self.accounts.values())) - running
        return (account.ns if account else 0) + running


ENDED = Ledger(Clock(), 0)
"""What a unit that is over has for a ledger: it takes nothing any more."""
ENDED.ended = True
_OVER = ENDED.root
_targets: dict[str, set[str]] = {}


def bounded(resource: str) -> str:
    """`resource` while its kind has room for the target in this process, else `<kind>:other`."""
    kind, colon, target = resource.partition(":")
    # Kinds are bounded as well: `spending` takes whatever the host says.
    known = _targets.setdefault(kind, set()) if len(_targets) < TARGETS else _targets.get(kind, set())
    if target in known or len(known) < TARGETS:
        known.add(target)
        return resource
    return f"{kind}{colon}other"


def _add(shares: dict[str, int], frame: Frame, ns: int) -> None:
    shares[frame.resource] = shares.get(frame.resource, 0) + ns


def _tree(record: list[Frame], end: Stamp) -> list[Node[Frame]]:
    """Nodes of the recorded frames, each under its nearest recorded ancestor; returns the top level."""
    nodes = {id(f): Node(f, f.mark, f.until or end, f.cancelled) for f in record}
    top: list[Node[Frame]] = []
    for frame in record:
        above = frame.parent
        while above is not None and id(above) not in nodes:
            above = above.parent
        (top if above is None else nodes[id(above)].children).append(nodes[id(frame)])
    return top


def open_frame(resource: str, detail: str = "", *, holders: Holders | None = None) -> Frame | None:
    """Open a frame in the current unit, None outside one. It becomes a parent only when FRAME is set to it."""
    parent = FRAME.get()
    return None if parent is None else parent.ledger.open(resource, detail, parent, holders)


def close_frame(
    frame: Frame | None, *, resource: str | None = None, failed: bool = False, cancelled: bool = False
) -> None:
    """Close a frame from `open_frame`, on any thread; `resource` reclassifies it. None is ignored."""
    if frame is not None:
        frame.ledger.close(frame, resource, failed, cancelled)


def stamp(error: BaseException, frame: Frame | None) -> None:
    """Remember on an exception which frame let it out first; exceptions without attributes are left alone."""
    if frame is None:
        return
    try:
        if getattr(error, "__firstcause_frame__", None) is None:
            error.__firstcause_frame__ = frame  # type: ignore[attr-defined]
    except Exception:  # noqa: S110, BLE001 - a slotted exception cannot be stamped; the last failed frame stands in
        pass


def stamped(error: BaseException) -> Frame | None:
    """The frame an exception was stamped with, itself or the reply that it complains about."""
    frame = getattr(error, "__firstcause_frame__", None)
    if frame is None:
        frame = getattr(getattr(error, "response", None), "_firstcause_frame", None)
    return frame if isinstance(frame, Frame) else None
