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
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from .._guard import guard
from .._watch import WATCH
from ..diagnosis.clock import thread_clock
from ..diagnosis.ledger import FRAME
from ..diagnosis.unit import Unit
from ..servers.incoming import adopt
from .call import RUNTIME, Call, propagate

MARK = b"\x00firstcause:"
TRAILER = 4096
_TRAILER = re.compile(re.escape(MARK) + rb"(\{.{0,4096}\})\Z", re.DOTALL)
WAITING = 10_000
"""Carriers kept between reading a message and executing it; a task revoked in between leaves one."""
_originals: list[tuple[type, str, Any]] = []
_carrier_of: ContextVar[dict[str, Any] | None] = ContextVar("firstcause_carrier", default=None)
_carriers: dict[str, dict[str, Any]] = {}


def instrument() -> None:
    """Patch Huey's enqueue, serialisation and execution; safe to call again."""
    if _originals:
        return
    _patch(huey.api.Huey, "enqueue", _enqueue)
    _patch(huey.api.Huey, "serialize_task", _serialize_task)
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
        if RUNTIME.recorder is None:
            return original(self, task)
        attributes = {"messaging.system": "huey", "messaging.destination.name": self.name}
        name = f"queue:{self.name}"
        with Call(name, f"send {self.name}", attributes, kind=SpanKind.PRODUCER, detail=task.name) as call:
            if call.span is not None and getattr(task, "_firstcause", None) is None:
                task._firstcause = {**dict(propagate(call.span, "localhost")), "at": time()}
            return original(self, task)

    return enqueue


def _serialize_task(original: Any) -> Any:
    def serialize_task(self: Any, task: Any) -> Any:
        token = _carrier_of.set(getattr(task, "_firstcause", None))
        try:
            return original(self, task)
        finally:
            _carrier_of.reset(token)

    return serialize_task


def _serialize(original: Any) -> Any:
    def serialize(self: Any, data: Any) -> bytes:
        raw: bytes = original(self, data)
        carrier = _carrier_of.get()
        if carrier:
            trailer = json.dumps(carrier).encode()
            if len(trailer) <= TRAILER:
                return raw + MARK + trailer
        return raw

    return serialize


def _deserialize(original: Any) -> Any:
    def deserialize(self: Any, data: bytes) -> Any:
        message = original(self, data)
        with guard("huey.trailer"):
            found = _TRAILER.search(data[-TRAILER - len(MARK) - 2 :]) if MARK in data else None
            if found is not None and hasattr(message, "id"):
                if len(_carriers) >= WAITING:
                    _carriers.pop(next(iter(_carriers)))
                _carriers[message.id] = json.loads(found.group(1))
        return message

    return deserialize


# -- consuming ----------------------------------------------------------------------------------


def _execute(original: Any) -> Any:
    def execute(self: Any, task: Any, timestamp: Any) -> Any:
        recorder = RUNTIME.recorder
        carrier = _carriers.pop(task.id, None)
        if recorder is None:
            return original(self, task, timestamp)
        task._firstcause = carrier
        unit: Unit | None = None
        with guard("huey.begin"):
            unit = _begin(recorder, self.name, task, carrier if isinstance(carrier, dict) else {})
        if unit is None:
            return original(self, task, timestamp)
        frame_token = FRAME.set(unit.ledger.root)
        span_token = otel_context.attach(trace.set_span_in_context(unit.span))
        run = task.execute
        task.execute = _watched(run, unit)
        try:
            return original(self, task, timestamp)
        finally:
            task.__dict__.pop("execute", None)
            with guard("huey.finish"):
                recorder.finish(unit, 500 if unit.failure is not None else 0)
            FRAME.reset(frame_token)
            otel_context.detach(span_token)

    return execute


def _watched(run: Any, unit: Unit) -> Any:
    from ..servers.failure import note_failure

    def execute() -> Any:
        try:
            return run()
        except Exception as error:
            note_failure(unit, error)
            raise

    return execute


def _begin(recorder: Any, name: str, task: Any, carrier: dict[str, Any]) -> Unit:
    unit: Unit = recorder.begin("consumer", "", name, thread_clock())
    try:
        unit.route = f"{name} {task.name}"
        headers = {k.encode(): str(v).encode("latin-1", "replace") for k, v in carrier.items() if k != "at"}
        attributes = {"messaging.system": "huey", "messaging.destination.name": name}
        adopt(recorder, unit, headers, attributes, SpanKind.CONSUMER, from_loopback=True)
        sent = carrier.get("at")
        due = task.eta.timestamp() if getattr(task, "eta", None) is not None else 0.0
        if isinstance(sent, (int, float)):
            waited = int((unit.started_ns / 1e9 - max(sent, due)) * 1e9)
            if waited > 0:
                unit.ledger.credit(f"queue:{name}", waited)
    except BaseException:
        WATCH.leave()
        raise
    return unit
