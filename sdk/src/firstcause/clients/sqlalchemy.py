"""SQLAlchemy 2.0 and 2.1, sync and async: statements, the wait for a connection, and who holds them.

Statements are caught where the dialect hands them to the driver: the cheapest place, and one that
an exception or a cancellation passes through.
"""

from __future__ import annotations

import sys
import weakref
from time import perf_counter_ns
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import Pool, QueuePool

from .._guard import guard
from .._watch import place_of
from ..diagnosis.holders import WAITS, Hold, Holders
from ..diagnosis.ledger import FRAME, close_frame, open_frame
from ..logs.redaction import redact_sql
from .call import RUNTIME, Call

STATEMENTS = 1024
"""Redacted texts remembered; the compiled cache hands us identical strings."""
DETAIL = 100
_originals: list[tuple[type, str, Any]] = []
_texts: dict[str, str] = {}
_HOLD = "firstcause"


def instrument() -> None:
    """Patch dialects and pools, of engines made before and after; safe to call again."""
    if _originals:
        return
    for name in ("do_execute", "do_executemany"):
        _patch(DefaultDialect, name, _with_parameters)
    _patch(DefaultDialect, "do_execute_no_params", _without_parameters)
    for name in ("do_commit", "do_rollback"):
        _patch(DefaultDialect, name, _ending)
    _patch(QueuePool, "_do_get", _waiting)
    for name, listener in _LISTENERS:
        event.listen(Pool, name, listener)


def uninstrument() -> None:
    """Put SQLAlchemy back."""
    if not _originals:
        return
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)
    for name, listener in _LISTENERS:
        event.remove(Pool, name, listener)


def _patch(owner: type, name: str, wrap: Any) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    setattr(owner, name, wrap(original))


# -- statements ---------------------------------------------------------------------------------


def _with_parameters(original: Any) -> Any:
    def do_execute(self: Any, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        if FRAME.get() is None or RUNTIME.recorder is None:
            return original(self, cursor, statement, parameters, context)  # type: ignore[no-any-return]
        with _begin(self, statement, context):
            return original(self, cursor, statement, parameters, context)  # type: ignore[no-any-return]

    return do_execute


def _without_parameters(original: Any) -> Any:
    def do_execute_no_params(self: Any, cursor: Any, statement: str, context: Any = None) -> None:
        if FRAME.get() is None or RUNTIME.recorder is None:
            return original(self, cursor, statement, context)  # type: ignore[no-any-return]
        with _begin(self, statement, context):
            return original(self, cursor, statement, context)  # type: ignore[no-any-return]

    return do_execute_no_params


def _ending(original: Any) -> Any:
    name = original.__name__.removeprefix("do_").upper()

    def end(self: Any, connection: Any) -> None:
        frame = open_frame(_resource(self, None), name)
        try:
            original(self, connection)
        finally:
            close_frame(frame)

    return end


def _begin(dialect: Any, statement: str, context: Any) -> Call:
    text = _texts.get(statement)
    if text is None:
        text = redact_sql(statement)
        if len(_texts) < STATEMENTS:
            _texts[statement] = text
    operation = text.partition(" ")[0].upper()[:16]
    resource = _resource(dialect, context)
    attributes = {
        "db.system.name": dialect.name,
        "db.namespace": resource.partition("/")[2],
        "db.operation.name": operation,
        "db.query.text": text[:2048],
    }
    return Call(resource, operation, attributes, detail=text[:DETAIL])


def _resource(dialect: Any, context: Any) -> str:
    known = getattr(dialect, "_firstcause_resource", None)
    if known is not None:
        return str(known)
    found = f"db:{dialect.name}"
    with guard("sqlalchemy.resource"):
        if context is not None:
            database = context.root_connection.engine.url.database
            found = f"db:{dialect.name}/{database}" if database else found
            dialect._firstcause_resource = found
    return found


# -- the pool -----------------------------------------------------------------------------------


def _waiting(original: Any) -> Any:
    def _do_get(self: Any) -> Any:
        if FRAME.get() is None or self._pool.qsize() or not self._overflow >= self._max_overflow >= 0:
            return original(self)
        holders = _holders(self)
        before = perf_counter_ns()
        call = Call(holders.resource, "pool checkout", {}, holders=holders, span=False)
        frame = call.frame
        if frame is not None:
            WAITS.begin(frame)
            frame.detail = "waited for a connection"
        with call:
            try:
                return original(self)
            finally:
                if frame is not None:
                    WAITS.end(frame)
                    frame.detail = f"waited {(perf_counter_ns() - before) // 1_000_000} ms for a connection"

    return _do_get


def _holders(pool: Any) -> Holders:
    found: Holders | None = getattr(pool, "_firstcause_holders", None)
    if found is None:
        resource = getattr(getattr(pool, "_dialect", None), "_firstcause_resource", "")
        name = pool.logging_name or resource.partition("/")[2] or "pool"
        found = pool._firstcause_holders = Holders(f"db_pool:{name}")
        _watch(pool, found.resource)
    return found


def _watch(pool: Any, resource: str) -> None:
    recorder = RUNTIME.recorder
    if recorder is None or not isinstance(pool, QueuePool):
        return
    seen = weakref.ref(pool)

    def reading() -> tuple[float, float, float]:
        found: Any = seen()
        if found is None:
            return 0.0, 0.0, 0.0
        return float(found.checkedout()), float(found.size() + max(0, found._max_overflow)), 0.0

    recorder.metrics.watch(resource, reading)


def _checkout(_connection: Any, record: Any, proxy: Any) -> None:
    with guard("sqlalchemy.checkout"):
        pool = proxy._pool if hasattr(proxy, "_pool") else record._ConnectionRecord__pool
        holders = _holders(pool)
        record.info[_HOLD] = (holders, holders.acquired(FRAME.get(), _caller()))


def _checkin(_connection: Any, record: Any, *_more: Any) -> None:
    with guard("sqlalchemy.checkin"):
        held: tuple[Holders, Hold] | None = None if record is None else record.info.pop(_HOLD, None)
        if held is not None:
            held[0].released(held[1])


_LISTENERS = (("checkout", _checkout), ("checkin", _checkin), ("invalidate", _checkin), ("detach", _checkin))


def _caller() -> str:
    """Where the application asked for the connection: the innermost frame outside libraries."""
    frame: FrameType | None = sys._getframe(2)
    found = _outside(frame)
    if found is None and "greenlet" in sys.modules:
        parent = sys.modules["greenlet"].getcurrent().parent
        found = None if parent is None else _outside(parent.gr_frame)
    return "" if found is None else place_of(found)


def _outside(frame: FrameType | None) -> FrameType | None:
    while frame is not None:
        name = frame.f_code.co_filename
        if not ("site-packages" in name or "firstcause" in name or name.startswith("<") or "/lib/python" in name):
            return frame
        frame = frame.f_back
    return None
