"""A provider whose spans are collected, and a unit of work around them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

from firstcause.diagnosis.clock import thread_clock
from firstcause.diagnosis.ledger import FRAME, Ledger
from firstcause.trace.provider import TracerProvider
from firstcause.trace.span import Span


class Collected:
    """A provider and what it exported."""

    def __init__(self, **options: Any) -> None:
        self.spans: list[Span] = []
        self.provider = TracerProvider({"service.name": "shop"}, self.spans.append, **options)
        self.tracer = self.provider.get_tracer("shop.code", "1.2", "https://schema", {"team": "a"})

    def names(self) -> list[str]:
        """The exported spans' names, in order."""
        return [span.name for span in self.spans]


@contextmanager
def unit() -> Iterator[Ledger]:
    """A unit of work in this context."""
    ledger = Ledger(thread_clock(), perf_counter_ns())
    token = FRAME.set(ledger.root)
    try:
        yield ledger
    finally:
        FRAME.reset(token)
