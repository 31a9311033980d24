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

from .._guard import count, guard
from ..diagnosis.ledger import FRAME
from ..diagnosis.unit import Unit
from ..servers.failure import note_failure
from .call import RUNTIME, Call
from .messages import SENT, Carrier, begin, carrier, publishing
from .patches import Patches

MARK = b"\x00firstcause:"
TRAILER = 4096
_TRAILER = re.compile(re.escape(MARK) + rb"(\{.{0,4096}\})\Z", re.DOTALL)
_patches = Patches()
_sending: ContextVar[Carrier | None] = ContextVar("firstcause_sending", default=None)
"""What the task being enqueued is to carry; never kept on the task, as Huey enqueues periodic ones again and again."""
_writing: ContextVar[Carrier | None] = ContextVar("firstcause_writing", default=None)
_read: ContextVar[Carrier | None] = ContextVar("firstcause_read", default=None)


def instrument() -> None:
    """Patch Huey's enqueue, serialisation and execution; safe to call again."""
    if _patches:
        return
    _patches.put(huey.api.Huey, "enqueue", _enqueue)
    _patches.put(huey.api.Huey, "serialize_task", _serialize_task)
    _patches.put(huey.api.Huey, "deserialize_task", _deserialize_task)
    _patches.put(huey.api.Huey, "_execute", _execute)
    _patches.put(huey.serializer.Serializer, "_serialize", _serialize)
    _patches.put(huey.serializer.Serializer, "_deserialize", _deserialize)


def uninstrument() -> None:
    """Put Huey back."""
    _patches.undo()


# -- producing ----------------------------------------------------------------------------------


def _enqueue(original: Any) -> Any:
    def enqueue(self: Any, task: Any) -> Any:
        # Groups and chords come back here task by task; the scheduler passes on, outside units, what it found.
        if RUNTIME.recorder is None or not isinstance(task, huey.api.Task) or _passed_on(task):
            return original(self, task)
        with publishing("huey", self.name, task.name) as call:
            token = _sending.set(_carrier(call, task))
            try:
                return original(self, task)
            finally:
                _sending.reset(token)

    return enqueue


def _passed_on(task: Any) -> bool:
    return FRAME.get() is None and getattr(task, "_firstcause", None) is not None


def _carrier(call: Call, task: Any) -> Carrier | None:
    with guard("huey.carrier"):
        came_with: Carrier | None = getattr(task, "_firstcause", None)
        if came_with is not None:  # a retry belongs to who asked first, and waits from now on
            return {**came_with, SENT: time()}
        return carrier(call) or None
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
        written = _writing.get()
        if written:
            with guard("huey.trailer"):
                trailer = json.dumps(written).encode()
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
            came_with = _read.get()
            if came_with is not None:
                # On the task: delays and retries write it again, and only `_execute` uses it.
                task._firstcause = came_with
            return task
        finally:
            _read.reset(token)

    return deserialize_task


# -- consuming ----------------------------------------------------------------------------------


def _execute(original: Any) -> Any:
    def execute(self: Any, task: Any, timestamp: Any) -> Any:
        came = getattr(task, "_firstcause", None) or _sending.get() or {}
        due = getattr(task, "eta", None)
        message = begin("huey", self.name, task.name, came, 0.0 if due is None else due.timestamp())
        if message is None:
            return original(self, task, timestamp)
        # In immediate mode we are still inside `enqueue`, whose carrier is not for what this task enqueues.
        token = _sending.set(None)
        task.execute = _watched(task, message.unit)
        try:
            return original(self, task, timestamp)
        finally:
            task.__dict__.pop("execute", None)
            _sending.reset(token)
            message.finish()

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
