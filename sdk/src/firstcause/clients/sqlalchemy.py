"""SQLAlchemy 2.0 and 2.1, sync and async: statements, the wait for a connection, and who holds them.

Statements are caught where the dialect hands them to the driver: the cheapest place, and one that
an exception or a cancellation passes through.
"""

from __future__ import annotations

import math
import os
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine.base import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import Pool, QueuePool
from sqlalchemy.pool.base import _ConnectionRecord

from .._guard import guard
from ..diagnosis.holders import Hold, Holders
from . import sql
from .call import Call, opens
from .patches import Patches
from .pools import Reading, taken, waiting, watch
from .sql import Database

_patches = Patches()
_covered: set[type] = set()
_HOLD = "firstcause"


def instrument() -> None:
    """Patch dialects and pools, of engines made before and after; safe to call again."""
    if _patches:
        return
    _cover(DefaultDialect)
    _patches.put(DefaultDialect, "initialize", _initialize)
    _patches.put(Engine, "__init__", _named)
    # The pool's `connect` event comes when the connection is open: too late to time it.
    _patches.put(_ConnectionRecord, "_ConnectionRecord__connect", _connecting)
    # No event says that somebody begins to wait for a connection.
    _patches.put(QueuePool, "_do_get", _waiting)
    for name, listener in _LISTENERS:
        event.listen(Pool, name, listener)


def uninstrument() -> None:
    """Put SQLAlchemy back."""
    if not _patches:
        return
    _patches.undo()
    _covered.clear()
    for name, listener in _LISTENERS:
        if event.contains(Pool, name, listener):
            event.remove(Pool, name, listener)


def _cover(dialect: type) -> None:
    """Patch what a dialect class defines itself, and its subclasses (psycopg2 and pyodbc override some)."""
    if dialect in _covered:
        return
    _covered.add(dialect)
    for name, wrap in _STATEMENTS.items():
        if name in vars(dialect):
            _patches.put(dialect, name, wrap)
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
            _name(self.dialect, self.url)

    return init


# -- statements ---------------------------------------------------------------------------------


def _execute(original: Any) -> Any:
    def do_execute(self: Any, cursor: Any, statement: str, parameters: Any, context: Any = None) -> Any:
        if sql.idle():
            return original(self, cursor, statement, parameters, context)
        with _begin(self, statement, context, 0):
            return original(self, cursor, statement, parameters, context)

    return do_execute


def _executemany(original: Any) -> Any:
    def do_executemany(self: Any, cursor: Any, statement: str, parameters: Any, context: Any = None) -> Any:
        if sql.idle():
            return original(self, cursor, statement, parameters, context)
        with _begin(self, statement, context, sql.size(parameters)):
            return original(self, cursor, statement, parameters, context)

    return do_executemany


def _without_parameters(original: Any) -> Any:
    def do_execute_no_params(self: Any, cursor: Any, statement: str, context: Any = None) -> Any:
        if sql.idle():
            return original(self, cursor, statement, context)
        with _begin(self, statement, context, 0):
            return original(self, cursor, statement, context)

    return do_execute_no_params


def _ending(original: Any) -> Any:
    name = original.__name__.removeprefix("do_").upper()

    def end(self: Any, connection: Any) -> Any:
        if sql.unbooked():
            return original(self, connection)
        with _untraced(self, name):
            return original(self, connection)

    return end


_STATEMENTS = {
    "do_execute": _execute,
    "do_executemany": _executemany,
    "do_execute_no_params": _without_parameters,
    "do_commit": _ending,
    "do_rollback": _ending,
}


def _connecting(original: Any) -> Any:
    """Opening a connection is time of the database, not of own code."""

    def connect(self: Any) -> Any:
        dialect = getattr(self._ConnectionRecord__pool, "_dialect", None)
        if sql.unbooked() or not hasattr(dialect, "name"):
            return original(self)
        with _untraced(dialect, "connect"):
            return original(self)

    return connect


@opens
def _untraced(dialect: Any, detail: str) -> Call:
    return _database(dialect, None).wait(detail)


@opens
def _begin(dialect: Any, statement: str, context: Any, batch: int) -> Call:
    return _database(dialect, context).statement(statement, batch)


_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
"""Dialects whose name is not the semantic conventions'."""


def _database(dialect: Any, context: Any) -> Database:
    known: Database | None = getattr(dialect, "_firstcause_database", None)
    if known is None and context is not None:
        return _name(dialect, context.root_connection.engine.url)
    return known or Database(dialect.name, f"db:{dialect.name}", "", None, None)


def _name(dialect: Any, url: Any) -> Database:
    # SQLite's database is a path: its last part says enough.
    target = os.path.basename(url.database or "")
    system = _SYSTEMS.get(dialect.name, dialect.name)
    if system == "postgresql":
        named = sql.postgresql(target, url.host, url.port or dialect.default_port or 5432)
    else:
        resource = f"db:{dialect.name}/{target}" if target else f"db:{dialect.name}"
        named = Database(system, resource, target, url.host, url.port)
    dialect._firstcause_database = named
    return named


# -- the pool -----------------------------------------------------------------------------------


def _waiting(original: Any) -> Any:
    def _do_get(self: Any) -> Any:
        # One is free, or another may be opened (-1: any number): nobody has to wait.
        if self._pool.qsize() or not self._overflow >= self._max_overflow >= 0:
            return original(self)
        holders = _holders(self)
        # A set, because adding and removing need no lock.
        queue: set[object] = self._firstcause_waiting
        me = object()
        queue.add(me)
        try:
            with waiting(holders):
                return original(self)
        finally:
            queue.discard(me)

    return _do_get


def _holders(pool: Any) -> Holders:
    found: Holders | None = getattr(pool, "_firstcause_holders", None)
    if found is None:
        database: Database | None = getattr(getattr(pool, "_dialect", None), "_firstcause_database", None)
        name = pool.logging_name or (database and database.namespace) or "pool"
        pool._firstcause_waiting = set()
        found = pool._firstcause_holders = Holders(f"db_pool:{name}")
        if isinstance(pool, QueuePool):
            watch(found.resource, pool, _reading)
    return found


def _reading(pool: Any) -> Reading:
    limit = pool.size() + pool._max_overflow if pool._max_overflow >= 0 else math.inf
    return float(pool.checkedout()), limit, float(len(pool._firstcause_waiting))


def _checkout(_connection: Any, record: Any, proxy: Any) -> None:
    with guard("sqlalchemy.checkout"):
        holders = _holders(proxy._pool)
        # On the record: another task or thread may give the connection back than the one that took it.
        record.info[_HOLD] = (holders, taken(holders))


def _checkin(_connection: Any, record: Any, *_more: Any) -> None:
    with guard("sqlalchemy.checkin"):
        held: tuple[Holders, Hold] | None = None if record is None else record.info.pop(_HOLD, None)
        if held is not None:
            held[0].released(held[1])


_LISTENERS = (("checkout", _checkout), ("checkin", _checkin), ("invalidate", _checkin), ("detach", _checkin))
