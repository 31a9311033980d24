"""Page views: many reports, each counted once. Pure: time is an argument; not thread-safe, the caller holds a lock.

A vital is reported several times, and a histogram cannot take a value back. So the last value waits until no newer
one has come for a while, is counted then, and is remembered as counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NEVER = float("inf")
GROWING = ("INP", "CLS")
"""Vitals that grow while the page is used."""
MOST_ERRORS, MOST_VITALS = 50, 20
"""Different ones per view; further ones are not counted."""


class Joined(NamedTuple):
    """The backend's span that a page came from."""

    trace_id: int
    span_id: int
    flags: int


class Labels(NamedTuple):
    """What a view is counted by: bounded values."""

    route: str
    device: str
    region: str
    navigation: str
    release: str


@dataclass(slots=True)
class Pending:
    """A vital's last value (milliseconds, or a score), and when it counts."""

    name: str
    value: float
    at: dict[str, Any]
    due: float
    blamed_at: float
    """When it is said who is to blame for it; never for a good one."""


@dataclass(slots=True)
class View:
    """One page view, as far as it is known."""

    labels: Labels
    origin_ns: int
    """When the document began, by our own clock."""
    attributes: dict[str, Any]
    """What every event of the view carries."""
    joined: Joined | None = None
    span_id: int = 0
    bodies: set[int] = field(default_factory=set)
    pending: dict[str, Pending] = field(default_factory=dict)
    """By the metric's id."""
    done: set[str] = field(default_factory=set)
    blamed: set[str] = field(default_factory=set)
    errors: set[str] = field(default_factory=set)
    load: dict[str, Any] | None = None
    script: tuple[float, str] = (0.0, "")
    """The script that ran longest in long frames so far: milliseconds, and what it is called."""
    rtt: float = 0.0
    outcome: str = ""
    hidden: bool = False
    counted: bool = False
    told: bool = False
    """Whether its spans have gone out."""
    ends_ms: float = 0.0
    """How much of it is known."""
    due: float = 0.0
    """When something of it is to be settled; 0 for never."""

    def report(self, vital: dict[str, Any], due: float, blamed_at: float = NEVER) -> str:
        """Take a vital's value so far; returns why not, "" when it was taken."""
        id_ = vital["id"]
        if id_ in self.done:
            return "late"
        if id_ not in self.pending and len(self.pending) + len(self.done) >= MOST_VITALS:
            return "full"
        blamed_at = NEVER if id_ in self.blamed else blamed_at
        self.pending[id_] = Pending(vital["name"], vital["val"], vital.get("at", {}), due, blamed_at)
        self._plan(min(due, blamed_at))
        return ""

    def to_blame(self, now: float) -> Iterator[Pending]:
        """The slow vitals of which it is time to say why; each is given once."""
        for id_, pending in self.pending.items():
            if pending.blamed_at <= now and pending.blamed_at != NEVER:
                self.blamed.add(id_)
                pending.blamed_at = NEVER
                yield pending

    def settled(self, now: float) -> Iterator[Pending]:
        """The vitals that are due; each is given once."""
        due = [id_ for id_, pending in self.pending.items() if pending.due <= now]
        for id_ in due:
            self.done.add(id_)
            yield self.pending.pop(id_)
        self.due = min((min(one.due, one.blamed_at) for one in self.pending.values()), default=0.0)

    def wait(self, until: float) -> None:
        """Look at this view again then, even if no vital comes."""
        self._plan(until)

    def _plan(self, due: float) -> None:
        self.due = min(self.due, due) if self.due else due

    def new_error(self, fingerprint: str) -> bool:
        """Whether this error is the first of its kind in the view."""
        if fingerprint in self.errors or len(self.errors) >= MOST_ERRORS:
            return False
        self.errors.add(fingerprint)
        return True


class Views:
    """The latest views, and which mark was used by which of them; both bounded."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, View] = OrderedDict()
        self._marks: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, id_: str) -> View | None:
        """The view, which is now the latest."""
        found = self._known.get(id_)
        if found is not None:
            self._known.move_to_end(id_)
        return found

    def add(self, id_: str, view: View) -> View | None:
        """Remember a view; returns the oldest when it had to go, for it to be settled."""
        self._known[id_] = view
        return self._known.popitem(last=False)[1] if len(self._known) > self._most else None

    def first_use(self, mark: str, id_: str) -> bool:
        """Whether no other view has used this mark: one that comes twice was in a cache between server and browser."""
        if self._marks.setdefault(mark, id_) != id_:
            return False
        if len(self._marks) > self._most:
            self._marks.popitem(last=False)
        return True

    def due(self, now: float) -> list[View]:
        """Views of which something is to be settled."""
        return [view for view in self._known.values() if 0 < view.due <= now]

    def waiting(self) -> list[View]:
        """Views of which anything is still to be settled, due or not."""
        return [view for view in self._known.values() if view.due]
