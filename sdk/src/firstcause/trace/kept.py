"""Ended spans of an unsampled unit, kept until its end in case it turns out slow or failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .._guard import count

if TYPE_CHECKING:
    from .span import Span

KEPT = 64


class Kept:
    """Shared by the spans of one unsampled unit; holds at most `KEPT` of them, the first to end."""

    __slots__ = ("exported", "missed", "over", "room", "root", "spans")

    def __init__(self, root: Span) -> None:
        self.root: Span | None = root
        self.spans: list[Span] = []
        self.room, self.missed = KEPT, 0
        self.exported = self.over = False

    def keep(self, span: Span, export: Callable[[Span], None]) -> None:
        """Take an ended span; pass it on at once when the unit was exported meanwhile."""
        # It outlived its unit, which nobody wanted: nobody will ask for it either.
        if self.over and not self.exported:
            return
        if self.room <= 0:
            self.missed += 1
            if self.exported:
                count("firstcause.self.dropped", signal="traces", reason="kept")
            return
        self.room -= 1
        if self.exported:
            span.flags |= 1
            export(span)
        else:
            self.spans.append(span)

    def export(self, export: Callable[[Span], None]) -> None:
        """Pass on what was kept, once."""
        if self.exported:
            return
        self.exported = True
        spans, self.spans = self.spans, []
        if self.missed:
            count("firstcause.self.dropped", self.missed, signal="traces", reason="kept")
        for span in spans:
            span.flags |= 1
            export(span)

    def close(self) -> None:
        """The unit is over: forget what nobody asked for."""
        self.over, self.root = True, None
        self.spans = []
