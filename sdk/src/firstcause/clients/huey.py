"""Huey: context behind the pickled message, publish time, and a unit of work per executed task.

Huey's messages have no header field. A trailer after the pickle is ignored by `pickle.loads`, so
consumers without us keep working.
"""

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from time import time
from typing import Any

import huey.api
import huey.serializer
from huey.exceptions import CancelExecution
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from .._guard import count, guard
from .._watch import WATCH
from ..diagnosis.clock import thread_clock
from ..diagnosis.ledger import FRAME
from ..diagnosis.unit import Unit
from ..servers.failure import note_failure
from ..servers.incoming import adopt
from .call import RUNTIME, Call, opens, propagate

MARK = b"\x00firstcause:"
TRAILER = 4096
_TRAILER = re.compile(re.escape(MARK) + rb"(\{.{0,4096}\})\Z", re.DOTALL)
_originals: list[tuple[type, str, Any]] = []
Carrier = dict[str, Any]
_sending: ContextVar[Carrier | None] = ContextVar("firstcause_sending", default=None)
"""What the task being enqueued is to carry; never kept on the task, as Huey enqueues periodic ones again and again."""
_writing: ContextVar[Carrier | None] = ContextVar("firstcause_writing", default=None)
_read: ContextVar[Carrier | None] = ContextVar("firstcause_read", default=None)


def instrument() -> None:
    """Patch Huey's enqueue, serialisation and execution; safe to call again."""
    if _originals:
        return
    _patch(huey.api.Huey, "enqueue", _enqueue)
    _patch(huey.api.Huey, "serialize_task", _serialize_task)
    _patch(huey.api.Huey, "deserialize_task", _deserialize_task)
    _patch(huey.api.Huey, "_execute", _execute)
    _patch(huey.serializer.Serializer, "_serialize", _serialize)
    _patch(huey.serializer.Serializer, "_deserialize", _deserialize)


def uninstrument() -> None:
    """Put Huey back."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)


def _patch(owner: type, name: str, wrap: Any) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    setattr(owner, name, wrap(original))


# -- producing ----------------------------------------------------------------------------------


def _enqueue(original: Any) -> Any:
    def enqueue(self: Any, task: Any) -> Any:
        # Groups and chords come back here task by task; the scheduler passes on, outside units, what it found.
        if RUNTIME.recorder is None or not isinstance(task, huey.api.Task) or _passed_on(task):
            return original(self, task)
        with _publish(self.name, task) as call:
            token = _sending.set(_carrier(call, task))
            try:
                return original(self, task)
            finally:
                _sending.reset(token)

    return enqueue


def _passed_on(task: Any) -> bool:
    return FRAME.get() is None and getattr(task, "_firstcause", None) is not None


@opens
def _publish(name: str, task: Any) -> Call:
    attributes = {"messaging.system": "huey", "messaging.destination.name": name, "messaging.operation.name": "send"}
    return Call(f"queue:{name}", f"send {name}", attributes, kind=SpanKind.PRODUCER, detail=task.name)


def _carrier(call: Call, task: Any) -> Carrier | None:
    with guard("huey.carrier"):
        came_with: Carrier | None = getattr(task, "_firstcause", None)
        if came_with is not None:  # a retry belongs to who asked first, and waits from now on
            return {**came_with, "at": time()}
        if call.span is not None:
            return {**dict(propagate(call.span, "localhost")), "at": time()}
    return None


def _serialize_task(original: Any) -> Any:
    def serialize_task(self: Any, task: Any) -> Any:
        token = _writing.set(_sending.get() or getattr(task, "_firstcause", None))
        try:
            return original(self, task)
        finally:
            _writing.reset(token)

    return serialize_task


def _serialize(original: Any) -> Any:
    """Innermost, so that compression and signatures cover the trailer."""

    def serialize(self: Any, data: Any) -> bytes:
        raw: bytes = original(self, data)
        carrier = _writing.get()
        if carrier:
            with guard("huey.trailer"):
                trailer = json.dumps(carrier).encode()
                if len(trailer) <= TRAILER:
                    return raw + MARK + trailer
                count("firstcause.self.dropped", signal="carrier", reason="limit")
        return raw

    return serialize


def _deserialize(original: Any) -> Any:
    def deserialize(self: Any, data: bytes) -> Any:
        message = original(self, data)
        with guard("huey.trailer"):
            found = _TRAILER.search(data[-TRAILER - len(MARK) :]) if MARK in data else None
            if found is not None:
                _read.set(json.loads(found.group(1)))
        return message

    return deserialize


def _deserialize_task(original: Any) -> Any:
    def deserialize_task(self: Any, data: bytes) -> Any:
        token = _read.set(None)
        try:
            task = original(self, data)
            carrier = _read.get()
            if carrier is not None:
                # On the task: delays and retries write it again, and only `_execute` uses it.
                task._firstcause = carrier
            return task
        finally:
            _read.reset(token)

    return deserialize_task


# -- consuming ----------------------------------------------------------------------------------


def _execute(original: Any) -> Any:
    def execute(self: Any, task: Any, timestamp: Any) -> Any:
        recorder = RUNTIME.recorder
        if recorder is None:
            return original(self, task, timestamp)
        begun: tuple[Unit, Context] | None = None
        with guard("huey.begin"):
            begun = _begin(recorder, self.name, task, getattr(task, "_firstcause", None) or _sending.get() or {})
        if begun is None:
            return original(self, task, timestamp)
        unit, context = begun
        frame_token = FRAME.set(unit.ledger.root)
        span_token = otel_context.attach(context)
        sending_token = _sending.set(None)
        task.execute = _watched(task, unit)
        try:
            return original(self, task, timestamp)
        finally:
            task.__dict__.pop("execute", None)
            with guard("huey.finish"):
                recorder.finish(unit, 500 if unit.failure is not None else 0)
            _sending.reset(sending_token)
            FRAME.reset(frame_token)
            otel_context.detach(span_token)

    return execute


def _watched(task: Any, unit: Unit) -> Any:
    run = task.execute

    def execute() -> Any:
        try:
            return run()
        except CancelExecution as error:
            # Given up on purpose is no failure; to be tried again is one.
            if error.retry or (error.retry is None and task.retries):
                note_failure(unit, error)
            raise
        except Exception as error:
            note_failure(unit, error)
            raise

    return execute


def _begin(recorder: Any, name: str, task: Any, carrier: Carrier) -> tuple[Unit, Context]:
    unit: Unit = recorder.begin("consumer", "", name, thread_clock())
    try:
        unit.route = f"{name} {task.name}"
        headers = {k.encode(): str(v).encode("latin-1", "replace") for k, v in carrier.items() if k != "at"}
        attributes = {"messaging.system": "huey", "messaging.destination.name": name}
        context = adopt(recorder, unit, headers, attributes, SpanKind.CONSUMER, from_loopback=True)
        sent = carrier.get("at")
        due = task.eta.timestamp() if getattr(task, "eta", None) is not None else 0.0
        if isinstance(sent, (int, float)):
            waited = int((unit.started_ns / 1e9 - max(sent, due)) * 1e9)
            if waited > 0:
                unit.ledger.credit(f"queue:{name}", waited)
    except BaseException:
        WATCH.leave()
        raise
    return unit, trace.set_span_in_context(unit.span, context)
