"""A recorder without exporters, and units to work in: what adapters did is read off spans and reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from firstcause._config import Config
from firstcause._recorder import Recorder
from firstcause.diagnosis.clock import thread_clock
from firstcause.diagnosis.ledger import FRAME
from firstcause.diagnosis.unit import Unit, UnitReport
from firstcause.mesh import Mesh
from firstcause.metrics import Metrics
from firstcause.trace.provider import TracerProvider
from firstcause.trace.span import Span


@dataclass
class Workbench:
    """One process's recorder, the spans that ended and the units that were reported."""

    spans: list[Span] = field(default_factory=list)
    reports: list[UnitReport] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics({}))
    calls: dict[str, int] = field(default_factory=dict)
    """Of the last unit, per resource: booked calls, also those whose whole time a stall of the machine took."""

    def __post_init__(self) -> None:
        config = Config(service="shop")
        provider = TracerProvider({"service.name": "shop"}, self.spans.append)
        self.recorder: Any = Recorder(config, provider, Mesh(""), self.metrics, self.reports.append)

    @contextmanager
    def unit(self, status: int = 200) -> Iterator[Unit]:
        """A served request around the block; its report is the last of `reports` afterwards."""
        unit: Unit = self.recorder.begin("server", "GET", "/work", thread_clock())
        unit.route, unit.request_id = "/work", "request-1"
        unit.span = self.recorder.provider.server_span("GET", None, unit.started_ns, {}, SpanKind.SERVER)
        frame = FRAME.set(unit.ledger.root)
        span = otel_context.attach(trace.set_span_in_context(unit.span))
        try:
            yield unit
        finally:
            FRAME.reset(frame)
            otel_context.detach(span)
            self.calls = {resource: account.count for resource, account in unit.ledger.accounts.items()}
            self.recorder.finish(unit, status)

    @property
    def shares(self) -> dict[str, float]:
        """Milliseconds per resource of the last unit."""
        return {resource: ns / 1e6 for resource, ns in self.reports[-1].shares.items()}

    def named(self, name: str) -> list[Span]:
        """The ended spans of that name."""
        return [span for span in self.spans if span.name == name]
