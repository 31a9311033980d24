"""SQLAlchemy 2.0 and 2.1, sync and async: statements, the wait for a connection, and who holds them.

Statements are caught where the dialect hands them to the driver: the cheapest place, and one that
an exception or a cancellation passes through.
"""

from __future__ import annotations

import math
import os
import sys
import weakref
from time import perf_counter_ns
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine.base import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import Pool, QueuePool
from sqlalchemy.pool.base import _ConnectionRecord

from .._guard import guard
from .._watch import place_of
from ..diagnosis.holders import WAITS, Hold, Holders
from ..diagnosis.ledger import FRAME
from ..logs.redaction import redact_sql
from .call import RUNTIME, Call, opens

STATEMENTS = 1024
"""Redacted texts remembered; the compiled cache hands us identical strings."""
DETAIL = 100
_originals: list[tuple[type, str, Any]] = []
_texts: dict[str, str] = {}
_covered: set[type] = set()
_HOLD = "firstcause"


def instrument() -> None:
    """Patch dialects and pools, of engines made before and after; safe to call again."""
    if _originals:
        return
    _cover(DefaultDialect)
    _patch(DefaultDialect, "initialize", _initialize)
    _patch(Engine, "__init__", _named)
    _patch(_ConnectionRecord, "_ConnectionRecord__connect", _connecting)
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
    _covered.clear()
    for name, listener in _LISTENERS:
        if event.contains(Pool, name, listener):
            event.remove(Pool, name, listener)


def _patch(owner: type, name: str, wrap: Any) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    setattr(owner, name, wrap(original))


def _cover(dialect: type) -> None:
    """Patch what a dialect class defines itself, and its subclasses (psycopg2 and pyodbc override some)."""
    if dialect in _covered:
        return
    _covered.add(dialect)
    for name, wrap in _STATEMENTS.items():
        if name in vars(dialect):
            _patch(dialect, name, wrap)
    below: type
    for below in dialect.__subclasses__():
        _cover(below)


def _initialize(original: Any) -> Any:
    """A dialect imported after us is covered at its engine's first connection."""

    def initialize(self: Any, connection: Any) -> None:
        with guard("sqlalchemy.cover"):
            for above in type(self).__mro__:
                if issubclass(above, DefaultDialect):
                    _cover(above)
        original(self, connection)

    return initialize


def _named(original: Any) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        with guard("sqlalchemy.engine"):
            _name(self.dialect, self.url.database)

    return init


# -- statements ---------------------------------------------------------------------------------


def _silent() -> bool:
    """Outside units nobody pays; inside a statement we have been here (an override that called its base)."""
    frame = FRAME.get()
    return frame is None or RUNTIME.recorder is None or frame.resource.startswith("db:")


def _with_parameters(original: Any) -> Any:
    def do_execute(self: Any, cursor: Any, statement: str, parameters: Any, context: Any = None) -> Any:
        if _silent():
            return original(self, cursor, statement, parameters, context)
        with _begin(self, statement, context):
            return original(self, cursor, statement, parameters, context)

    return do_execute


def _without_parameters(original: Any) -> Any:
    def do_execute_no_params(self: Any, cursor: Any, statement: str, context: Any = None) -> Any:
        if _silent():
            return original(self, cursor, statement, context)
        with _begin(self, statement, context):
            return original(self, cursor, statement, context)

    return do_execute_no_params


def _ending(original: Any) -> Any:
    name = original.__name__.removeprefix("do_").upper()

    def end(self: Any, connection: Any) -> Any:
        if _silent():
            return original(self, connection)
        with _untraced(self, name):
            return original(self, connection)

    return end


_STATEMENTS = {
    "do_execute": _with_parameters,
    "do_executemany": _with_parameters,
    "do_execute_no_params": _without_parameters,
    "do_commit": _ending,
    "do_rollback": _ending,
}


def _connecting(original: Any) -> Any:
    """Opening a connection is time of the database, not of own code."""

    def connect(self: Any) -> Any:
        dialect = getattr(self._ConnectionRecord__pool, "_dialect", None)
        if _silent() or not hasattr(dialect, "name"):
            return original(self)
        with _untraced(dialect, "connect"):
            return original(self)

    return connect


@opens
def _untraced(dialect: Any, detail: str) -> Call:
    return Call(_resource(dialect, None), detail, {}, detail=detail, span=False)


@opens
def _begin(dialect: Any, statement: str, context: Any) -> Call:
    text = _texts.get(statement)
    if text is None:
        text = redact_sql(statement)
        if len(_texts) < STATEMENTS:
            _texts[statement] = text
    operation = text.partition(" ")[0].upper()[:16]
    resource = _resource(dialect, context)
    attributes = {
        "db.system.name": _SYSTEMS.get(dialect.name, dialect.name),
        "db.namespace": resource.partition("/")[2],
        "db.operation.name": operation,
        "db.query.text": text[:2048],
    }
    return Call(resource, operation, attributes, detail=text[:DETAIL])


_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
"""Dialects whose name is not the semantic conventions'."""


def _resource(dialect: Any, context: Any) -> str:
    known = getattr(dialect, "_firstcause_resource", None)
    if known is None and context is not None:
        with guard("sqlalchemy.resource"):
            known = _name(dialect, context.root_connection.engine.url.database)
    return known or f"db:{dialect.name}"


def _name(dialect: Any, database: str | None) -> str:
    # SQLite's database is a path: its last part says enough.
    target = os.path.basename(database or "")
    named: str = f"db:{dialect.name}/{target}" if target else f"db:{dialect.name}"
    dialect._firstcause_resource = named
    return named


# -- the pool -----------------------------------------------------------------------------------


def _waiting(original: Any) -> Any:
    def _do_get(self: Any) -> Any:
        if self._pool.qsize() or not self._overflow >= self._max_overflow >= 0:
            return original(self)
        holders = _holders(self)
        # A set, because adding and removing need no lock.
        waiting: set[object] = self._firstcause_waiting
        me = object()
        waiting.add(me)
        try:
            return _wait(original, self, holders) if FRAME.get() is not None else original(self)
        finally:
            waiting.discard(me)

    return _do_get


def _wait(original: Any, pool: Any, holders: Holders) -> Any:
    before = perf_counter_ns()
    with _queueing(holders) as call:
        frame = call.frame
        if frame is None:
            return original(pool)
        WAITS.begin(frame)
        try:
            return original(pool)
        finally:
            WAITS.end(frame)
            frame.detail = f"waited {(perf_counter_ns() - before) // 1_000_000} ms for a connection"


@opens
def _queueing(holders: Holders) -> Call:
    return Call(holders.resource, "checkout", {}, detail="waits for a connection", holders=holders, span=False)


def _holders(pool: Any) -> Holders:
    found: Holders | None = getattr(pool, "_firstcause_holders", None)
    if found is None:
        resource = getattr(getattr(pool, "_dialect", None), "_firstcause_resource", "")
        name = pool.logging_name or resource.partition("/")[2] or "pool"
        pool._firstcause_waiting = set()
        found = pool._firstcause_holders = Holders(f"db_pool:{name}")
        _watch(pool, found.resource)
    return found


def _watch(pool: Any, resource: str) -> None:
    recorder = RUNTIME.recorder
    if recorder is None or not isinstance(pool, QueuePool):
        return
    pools = _pools.setdefault(resource, weakref.WeakSet())
    pools.add(pool)
    recorder.metrics.watch(resource, lambda: _reading(list(pools)))


_pools: dict[str, weakref.WeakSet[QueuePool]] = {}
"""All pools of one name: a disposed engine makes a new one, and some services have two to one database."""


def _reading(pools: list[Any]) -> tuple[float, float, float]:
    """In use, limit (infinite when overflow is), waiting; over all pools of the name."""
    return (
        float(sum(pool.checkedout() for pool in pools)),
        sum(pool.size() + pool._max_overflow if pool._max_overflow >= 0 else math.inf for pool in pools),
        float(sum(len(pool._firstcause_waiting) for pool in pools)),
    )


def _checkout(_connection: Any, record: Any, proxy: Any) -> None:
    with guard("sqlalchemy.checkout"):
        holders = _holders(proxy._pool)
        record.info[_HOLD] = (holders, holders.acquired(FRAME.get(), _caller()))


def _checkin(_connection: Any, record: Any, *_more: Any) -> None:
    with guard("sqlalchemy.checkin"):
        held: tuple[Holders, Hold] | None = None if record is None else record.info.pop(_HOLD, None)
        if held is not None:
            held[0].released(held[1])


_LISTENERS = (("checkout", _checkout), ("checkin", _checkin), ("invalidate", _checkin), ("detach", _checkin))


_LIBRARIES = (os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(__file__)))
"""The standard library and this SDK."""


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
        if not ("site-packages" in name or name.startswith(("<", *_LIBRARIES))):
            return frame
        frame = frame.f_back
    return None
