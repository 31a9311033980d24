"""Lets the SDK work for a capture, whether the application configured it or not, and puts everything back.

What is replaced are outputs and ids: middleware, adapters, tracers and loggers find the capture's
recorder where they would find the application's.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import metrics as metrics_api
from opentelemetry import trace
from opentelemetry.metrics import _internal as meters
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from .. import _guard, _setup, clients
from .._config import Config
from .._recorder import Recorder
from .._watch import WATCH
from ..clients import call
from ..logs import Canonical, install, redaction, uninstall
from ..logs import setup as logs
from ..mesh import Mesh
from ..metrics import Metrics
from ..metrics.exposition import Exposition
from ..trace import context
from ..trace.provider import TracerProvider
from ..trace.readable import Readable
from ..trace.span import Span as OurSpan
from . import inprocess
from .clock import rebind, swap
from .taking import Taking


class Joined:
    """One capture's hold on the SDK; everything it changed is undone when `stack` closes."""

    def __init__(self, stack: ExitStack, taking: Taking, settings: dict[str, Any]) -> None:
        self.stack, self.taking = stack, taking
        state = _setup._state
        self.config = state.config if state.recorder is not None and state.config is not None else _LASTING.config()
        self._watched = state.recorder.metrics._watched if state.recorder is not None else {}
        configured = state.recorder is not None
        self.provider = state.recorder.provider if state.recorder is not None else _LASTING.provider()
        swap(stack, state, config=None, recorder=None, setup=None, telemetry=None)
        swap(stack, call.RUNTIME, recorder=None)
        swap(stack, _guard, _counts={}, _seen=set(), _strict=True)
        stack.callback(_as_secret_as, set(redaction._extra))
        self._names()
        self._spans()
        self._logs()
        self.reader = self._meters()
        self._doors()
        self.configure(None, None, settings)
        if not configured:
            clients.instrument_all()
            stack.callback(clients.uninstrument_all)

    # -- configuration ------------------------------------------------------------------------

    def configure(self, service: str | None, app: Any, settings: dict[str, Any]) -> Any:
        """What `firstcause.configure` does meanwhile: each call is obeyed, and nothing is ever sent."""
        given = {**settings, **({} if service is None else {"service": service})}
        checked = Config.from_env(os.environ, **{"service": self.config.service, **given})
        # Not disabled, as test environments often are: there would be nothing to capture.
        config = replace(self.config, **{name: getattr(checked, name) for name in given}, disabled=False)
        if given and _importing():
            _LASTING.imported = config
        if _setup._state.recorder is None or config != self.config:
            self._record(config)
        if app is not None:
            _setup._attach(app, self.setup)
        return self.setup

    def _record(self, config: Config) -> None:
        """A recorder of these settings; what was counted under others is forgotten."""
        self.config, taking = config, self.taking
        redaction.also_secret(config.redact)
        self.metrics = Metrics(config.resource_attributes(), config.objectives.values())
        self.metrics.in_flight = lambda: WATCH.in_flight
        # Pools announce themselves once, when they are first used: older ones are to be read here too.
        self.metrics._watched.update(self._watched)
        canonical = Canonical(config.service, None, lambda told: taking.log(told.record()))

        def ended(report: Any) -> None:
            taking.unit(report)
            canonical(report)

        mesh = Mesh(config.mesh_key, config.mesh_hosts)
        self.recorder = Recorder(config, self.provider, mesh, self.metrics, ended)
        self.setup = _setup.Setup(config.service, ["firstcause.testing"])
        state = _setup._state
        state.config, state.recorder, state.setup = config, self.recorder, self.setup
        state.telemetry = Mounted(self.metrics)
        clients.install(self.recorder)

    def _doors(self) -> None:
        """The application's own calls of `configure`, `flush` and `shutdown` end here."""
        swap(
            self.stack, _setup, configure=self.configure, flush=lambda _timeout_s: True,
            shutdown=lambda _timeout_s=None: True,
        )  # fmt: skip
        inprocess.watch(self.stack)

    # -- outputs ------------------------------------------------------------------------------

    def _names(self) -> None:
        """Ids count up from 1, so that failures can be compared between runs."""
        spans, traces, requests = itertools.count(1), itertools.count(1), itertools.count(1)
        theirs = (one for one in self.provider.processors if not isinstance(one, Taking))
        swap(
            self.stack, self.provider, new_span_id=spans.__next__, new_trace_id=traces.__next__, _sampler=None,
            _on_end=_nowhere, processors=(*theirs, self.taking),
        )  # fmt: skip
        rebind(self.stack, context.new_request_id, lambda: f"request-{next(requests)}")

    def _spans(self) -> None:
        """Tracers may belong to our provider, to the application's, or to one that was set by somebody else."""
        current = trace.get_tracer_provider()
        if isinstance(current, trace.ProxyTracerProvider):
            _lend(self.stack, self.provider)
        elif current is not self.provider and hasattr(current, "add_span_processor"):
            tap = _TAPS.get(current)
            if tap is None:
                tap = _TAPS[current] = Tap()
                current.add_span_processor(tap)
            swap(self.stack, tap, taking=self.taking)
        own = _LASTING.made
        if own is not None and own is not self.provider:
            swap(self.stack, own, processors=(self.taking,))

    def _logs(self) -> None:
        output, root = logs._output, logging.getLogger()
        # Before `install`, which may change it.
        self.stack.callback(root.setLevel, root.level)
        if output.handler is None:
            self.stack.callback(uninstall)
        swap(self.stack, output, lines=None, sink=self.taking.log, service=self.config.service)
        install(self.config.service, None, self.taking.log, stdlib=True)

    def _meters(self) -> InMemoryMetricReader:
        """The meters of the application, read for as long as the capture lasts."""
        provider: Any = metrics_api.get_meter_provider()
        if not hasattr(provider, "add_metric_reader"):
            provider = _LASTING.meters()
            _lend_meters(self.stack, provider)
        reader = InMemoryMetricReader()
        provider.add_metric_reader(reader)
        self.stack.callback(provider.remove_metric_reader, reader)
        return reader


class Tap(SpanProcessor):
    """Stays on a provider of somebody else's, which cannot give a processor back; works during captures only.

    Spans of ours may come this way as well, when the application joined the two: those are taken already.
    """

    def __init__(self) -> None:
        self.taking: Taking | None = None

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if self.taking is not None and not isinstance(span, OurSpan):
            self.taking.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        if self.taking is not None and not isinstance(span, Readable):
            self.taking.on_end(span)


class Mounted:
    """What an application that has `/metrics` mounted on itself (`metrics_path`) asks for during a capture."""

    def __init__(self, metrics: Metrics) -> None:
        self.keeper, self.exposition = self, Exposition(metrics)


class _Lasting:
    """What outlives a capture: module-level tracers and meters keep the provider they first met."""

    def __init__(self) -> None:
        self.made: TracerProvider | None = None
        self.imported: Config | None = None
        self._meters: MeterProvider | None = None

    def config(self) -> Config:
        """The settings of an application that was imported during an earlier capture, else plain ones."""
        found = self.imported or Config.from_env({"OTEL_SERVICE_NAME": "test", **os.environ}, instance="test")
        return replace(found, disabled=False)

    def provider(self) -> TracerProvider:
        """One provider for all captures of a process that nobody configured."""
        if self.made is None:
            self.made = TracerProvider({"service.name": "test"}, _nowhere)
        return self.made

    def meters(self) -> MeterProvider:
        """The same for meters."""
        if self._meters is None:
            self._meters = MeterProvider(shutdown_on_exit=False)
        return self._meters


_LASTING = _Lasting()
_TAPS: WeakKeyDictionary[Any, Tap] = WeakKeyDictionary()


def _nowhere(_span: Any) -> None:
    """Where spans go that would be sent."""


def _as_secret_as(names: set[str]) -> None:
    redaction._extra.intersection_update(names)
    redaction.is_secret.cache_clear()


def _lend(stack: ExitStack, provider: TracerProvider) -> None:
    """Make `provider` the global one, until `stack` closes: the application may still set its own."""
    once = trace._TRACER_PROVIDER_SET_ONCE
    trace.set_tracer_provider(provider)

    def back() -> None:
        trace._TRACER_PROVIDER = None
        once._done = False

    stack.callback(back)


def _lend_meters(stack: ExitStack, provider: MeterProvider) -> None:
    """The same for meters; instruments that were made before find `provider` as well."""
    metrics_api.set_meter_provider(provider)

    def back() -> None:
        meters._METER_PROVIDER = meters._PROXY_METER_PROVIDER._real_meter_provider = None
        meters._METER_PROVIDER_SET_ONCE._done = False

    stack.callback(back)


def _importing() -> bool:
    """Whether a module is being imported: what it configures, it configures once per process."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "_call_with_frames_removed":  # importlib runs modules under this name
            return True
        frame = frame.f_back
    return False
