"""asyncpg and its pool: statements as calls, rows of cursors as waits, and who holds connections."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import asyncpg.connect_utils
import asyncpg.connection
import asyncpg.cursor
import asyncpg.pool
import asyncpg.prepared_stmt

from .._guard import guard
from ..diagnosis.holders import Hold, Holders
from . import sql
from .call import Call, opens
from .patches import Patches
from .pools import Reading, taken, waiting, watch
from .sql import Database

_patches = Patches()
_RUN = ("execute", "executemany", "fetch", "fetchrow", "fetchval", "fetchmany", "_copy_in", "_copy_out", "prepare")
_PREPARED = ("fetch", "fetchrow", "fetchval", "fetchmany", "executemany")


def instrument() -> None:
    """Patch connections, statements, cursors and pools; safe to call again."""
    if _patches:
        return
    # Not every supported version has all of them.
    for name in _RUN:
        if name in vars(asyncpg.connection.Connection):
            _patches.put(asyncpg.connection.Connection, name, _run)
    for name in _PREPARED:
        if name in vars(asyncpg.prepared_stmt.PreparedStatement):
            _patches.put(asyncpg.prepared_stmt.PreparedStatement, name, _run_prepared)
    _patches.put(asyncpg.connection.Connection, "copy_records_to_table", _copy_records)
    _patches.put(asyncpg.connection.Connection, "reset", _reset)
    _patches.put(asyncpg.connect_utils, "_connect", _connect)
    _patches.put(asyncpg.cursor.CursorIterator, "__anext__", _next)
    _patches.put(asyncpg.cursor.Cursor, "_init", _run_prepared)
    for name in ("fetch", "fetchrow", "forward"):
        _patches.put(asyncpg.cursor.Cursor, name, _more)
    _patches.put(asyncpg.pool.Pool, "_acquire", _acquire)
    _patches.put(asyncpg.pool.PoolConnectionHolder, "acquire", _taken)
    _patches.put(asyncpg.pool.PoolConnectionHolder, "_release", _released)


def uninstrument() -> None:
    """Put asyncpg back."""
    _patches.undo()


# -- statements ---------------------------------------------------------------------------------


def _database(connection: Any) -> Database:
    address = connection._addr
    host, port = address if isinstance(address, tuple) else (address, None)
    return sql.postgresql(connection._params.database or "", host, port)


@opens
def _begin(connection: Any, query: str, batch: int) -> Call:
    return _database(connection).statement(query, batch)


@opens
def _wait(connection: Any, detail: str) -> Call:
    return _database(connection).wait(detail)


def _run(original: Any) -> Any:
    async def run(self: Any, query: str, *args: Any, **more: Any) -> Any:
        if sql.idle():
            return await original(self, query, *args, **more)
        batch = sql.size(args[0]) if args and original.__name__ in ("executemany", "fetchmany") else 0
        with _begin(self, query, batch):
            return await original(self, query, *args, **more)

    return run


def _run_prepared(original: Any) -> Any:
    async def run(self: Any, *args: Any, **more: Any) -> Any:
        if sql.idle():
            return await original(self, *args, **more)
        with _begin(self._connection, self._query, 0):
            return await original(self, *args, **more)

    return run


def _copy_records(original: Any) -> Any:
    """The only copy that has no statement of its own at hand."""

    async def copy_records_to_table(self: Any, table_name: str, **more: Any) -> Any:
        if sql.idle():
            return await original(self, table_name, **more)
        with _begin(self, f"COPY {table_name} FROM STDIN", sql.size(more.get("records"))):
            return await original(self, table_name, **more)

    return copy_records_to_table


def _reset(original: Any) -> Any:
    """What a pool does with a connection that is given back: time of the database, nobody's statement."""

    async def reset(self: Any, *args: Any, **more: Any) -> Any:
        if sql.unbooked():
            return await original(self, *args, **more)
        with _wait(self, "reset"):
            return await original(self, *args, **more)

    return reset


# -- cursors ------------------------------------------------------------------------------------


def _next(original: Any) -> Any:
    async def next_row(self: Any) -> Any:
        # What was fetched ahead is not waited for.
        if self._buffer:
            return await original(self)
        # The statement is prepared and run only with its first row.
        if self._state is None:
            if sql.idle():
                return await original(self)
            with _begin(self._connection, self._query, 0):
                return await original(self)
        if sql.unbooked():
            return await original(self)
        with _wait(self._connection, "fetch"):
            return await original(self)

    return next_row


def _more(original: Any) -> Any:
    async def more(self: Any, *args: Any, **named: Any) -> Any:
        if sql.unbooked():
            return await original(self, *args, **named)
        with _wait(self._connection, "fetch"):
            return await original(self, *args, **named)

    return more


# -- connections and pools ------------------------------------------------------------------------


@opens
def _connects(given: dict[str, Any]) -> Call:
    name = given.get("database") or urlsplit(given.get("dsn") or "").path.lstrip("/")
    return sql.postgresql(name, None, None).wait("connect")


def _connect(original: Any) -> Any:
    async def connect(*args: Any, **more: Any) -> Any:
        if sql.unbooked():
            return await original(*args, **more)
        with _connects(more):
            return await original(*args, **more)

    return connect


class _Pool:
    """Who holds connections of one pool, and how many wait."""

    def __init__(self, name: str) -> None:
        self.holders = Holders(f"db_pool:{name}")
        self.holds: dict[int, Hold] = {}
        self.waiting = 0


def _pool(pool: Any) -> _Pool:
    """Kept on the pool's queue of free connections: the pool itself takes neither attributes nor weak references."""
    queue = pool._queue
    found: _Pool | None = getattr(queue, "_firstcause", None)
    if found is None:
        found = queue._firstcause = _Pool(_name(pool))
        watch(found.holders.resource, queue, _reading)
    return found


def _name(pool: Any) -> str:
    with guard("asyncpg.pool"):
        given = pool._connect_kwargs
        dsn = pool._connect_args[0] if pool._connect_args else given.get("dsn")
        return str(given.get("database") or urlsplit(dsn or "").path.lstrip("/") or "pool")
    return "pool"


def _reading(queue: Any) -> Reading:
    return float(queue.maxsize - queue.qsize()), float(queue.maxsize), float(queue._firstcause.waiting)


def _acquire(original: Any) -> Any:
    async def _acquire(self: Any, *args: Any, **more: Any) -> Any:
        # A pool that is not open yet says so itself; a free connection is not waited for.
        if self._queue is None or not self._queue.empty():
            return await original(self, *args, **more)
        known = _pool(self)
        known.waiting += 1
        try:
            with waiting(known.holders):
                return await original(self, *args, **more)
        finally:
            known.waiting -= 1

    return _acquire


def _taken(original: Any) -> Any:
    async def acquire(self: Any, *args: Any, **more: Any) -> Any:
        proxy = await original(self, *args, **more)
        with guard("asyncpg.acquire"):
            known = _pool(self._pool)
            known.holds[id(self)] = taken(known.holders)
        return proxy

    return acquire


def _released(original: Any) -> Any:
    def _release(self: Any, *args: Any, **more: Any) -> Any:
        with guard("asyncpg.release"):
            known = _pool(self._pool)
            hold = known.holds.pop(id(self), None)
            if hold is not None:
                known.holders.released(hold)
        return original(self, *args, **more)

    return _release
