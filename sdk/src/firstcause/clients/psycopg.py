"""psycopg 3, sync and asyncio: statements as calls, and every other wait on a connection as its time.

All that talks to the server goes through `Connection.wait`: rows of server-side cursors, streams,
copies, commits. Below an ORM that has said it already, nothing is said again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from . import sql
from .call import Call, opens
from .patches import Patches
from .sql import Database

_patches = Patches()
_DETAILS = {"_commit_gen": "COMMIT", "_rollback_gen": "ROLLBACK", "_fetch_gen": "fetch"}


def instrument() -> None:
    """Patch connections and cursors; safe to call again."""
    if _patches:
        return
    for name, wrap in (("execute", _execute), ("executemany", _executemany), ("stream", _stream), ("copy", _copy)):
        _put_each((psycopg.Cursor, psycopg.ServerCursor), name, wrap)
    for name, wrap in (
        ("execute", _execute_async), ("executemany", _executemany_async),
        ("stream", _stream_async), ("copy", _copy_async),
    ):  # fmt: skip
        _put_each((psycopg.AsyncCursor, psycopg.AsyncServerCursor), name, wrap)
    _patches.put(psycopg.Connection, "wait", _wait)
    _patches.put(psycopg.AsyncConnection, "wait", _wait_async)
    _patches.put(psycopg.Connection, "connect", _connect)
    _patches.put(psycopg, "connect", _connect)  # the same, bound before we came
    _patches.put(psycopg.AsyncConnection, "connect", _connect_async)


def uninstrument() -> None:
    """Put psycopg back."""
    _patches.undo()


def _put_each(owners: tuple[type, ...], name: str, wrap: Any) -> None:
    for owner in owners:
        # What is only inherited is patched where it is defined; twice would make two calls of one.
        if name in vars(owner):
            _patches.put(owner, name, wrap)


# -- statements ---------------------------------------------------------------------------------


@opens
def _begin(cursor: Any, query: Any, batch: int) -> Call:
    return _database(cursor.connection).statement(_text(query, cursor), batch)


def _text(query: Any, cursor: Any) -> str:
    if isinstance(query, str):
        return query
    if isinstance(query, bytes):
        return query.decode("utf-8", "replace")
    strings = getattr(query, "strings", None)  # a template: its values stay behind
    return "%s".join(strings) if strings is not None else str(query.as_string(cursor))


def _database(connection: Any) -> Database:
    known: Database | None = getattr(connection, "_firstcause_database", None)
    if known is None:
        info = connection.info
        known = connection._firstcause_database = sql.postgresql(info.dbname, info.host, info.port)
    return known


def _execute(original: Any) -> Any:
    def execute(self: Any, query: Any, *args: Any, **more: Any) -> Any:
        if sql.idle():
            return original(self, query, *args, **more)
        with _begin(self, query, 0):
            return original(self, query, *args, **more)

    return execute


def _execute_async(original: Any) -> Any:
    async def execute(self: Any, query: Any, *args: Any, **more: Any) -> Any:
        if sql.idle():
            return await original(self, query, *args, **more)
        with _begin(self, query, 0):
            return await original(self, query, *args, **more)

    return execute


def _executemany(original: Any) -> Any:
    def executemany(self: Any, query: Any, params_seq: Any, *args: Any, **more: Any) -> Any:
        if sql.idle():
            return original(self, query, params_seq, *args, **more)
        with _begin(self, query, sql.size(params_seq)):
            return original(self, query, params_seq, *args, **more)

    return executemany


def _executemany_async(original: Any) -> Any:
    async def executemany(self: Any, query: Any, params_seq: Any, *args: Any, **more: Any) -> Any:
        if sql.idle():
            return await original(self, query, params_seq, *args, **more)
        with _begin(self, query, sql.size(params_seq)):
            return await original(self, query, params_seq, *args, **more)

    return executemany


# -- streams: the call ends with the first row, later rows are waits --------------------------------


def _stream(original: Any) -> Any:
    def stream(self: Any, query: Any, *args: Any, **more: Any) -> Iterator[Any]:
        rows = original(self, query, *args, **more)
        if sql.idle():
            yield from rows
            return
        try:
            with _begin(self, query, 0):
                row = next(rows, rows)
            while row is not rows:
                yield row
                row = next(rows, rows)
        finally:
            # Whoever stops reading closes us, and the server's stream has to end with that.
            rows.close()

    return stream


def _stream_async(original: Any) -> Any:
    async def stream(self: Any, query: Any, *args: Any, **more: Any) -> AsyncIterator[Any]:
        rows = original(self, query, *args, **more)
        begun = sql.idle()
        try:
            if begun:
                row = await anext(rows, rows)
            else:
                with _begin(self, query, 0):
                    row = await anext(rows, rows)
            while row is not rows:
                yield row
                row = await anext(rows, rows)
        finally:
            await rows.aclose()

    return stream


def _copy(original: Any) -> Any:
    @contextmanager
    def copy(self: Any, statement: Any, *args: Any, **more: Any) -> Iterator[Any]:
        copying = original(self, statement, *args, **more)
        with _Begun(copying, None if sql.idle() else _begin(self, statement, 0)) as begun:
            yield begun

    return copy


class _Begun:
    """A context manager whose entering is the call; what it does later are waits."""

    def __init__(self, inner: Any, call: Call | None) -> None:
        self._inner, self._call = inner, call

    def __enter__(self) -> Any:
        if self._call is None:
            return self._inner.__enter__()
        with self._call:
            return self._inner.__enter__()

    def __exit__(self, *what: object) -> Any:
        return self._inner.__exit__(*what)


def _copy_async(original: Any) -> Any:
    @asynccontextmanager
    async def copy(self: Any, statement: Any, *args: Any, **more: Any) -> AsyncIterator[Any]:
        copying = original(self, statement, *args, **more)
        async with _BegunAsync(copying, None if sql.idle() else _begin(self, statement, 0)) as begun:
            yield begun

    return copy


class _BegunAsync:
    """The same for asyncio."""

    def __init__(self, inner: Any, call: Call | None) -> None:
        self._inner, self._call = inner, call

    async def __aenter__(self) -> Any:
        if self._call is None:
            return await self._inner.__aenter__()
        with self._call:
            return await self._inner.__aenter__()

    async def __aexit__(self, *what: object) -> Any:
        return await self._inner.__aexit__(*what)


# -- waits --------------------------------------------------------------------------------------


@opens
def _waits(connection: Any, gen: Any) -> Call:
    return _database(connection).wait(_DETAILS.get(getattr(gen, "__name__", ""), "wait"))


def _wait(original: Any) -> Any:
    def wait(self: Any, gen: Any, *args: Any, **more: Any) -> Any:
        if sql.unbooked():
            return original(self, gen, *args, **more)
        with _waits(self, gen):
            return original(self, gen, *args, **more)

    return wait


def _wait_async(original: Any) -> Any:
    async def wait(self: Any, gen: Any, *args: Any, **more: Any) -> Any:
        if sql.unbooked():
            return await original(self, gen, *args, **more)
        with _waits(self, gen):
            return await original(self, gen, *args, **more)

    return wait


@opens
def _connects(args: tuple[Any, ...], more: dict[str, Any]) -> Call:
    given = next((arg for arg in args if isinstance(arg, str)), more.get("conninfo", ""))
    known = conninfo_to_dict(given)
    name = more.get("dbname") or known.get("dbname") or ""
    return sql.postgresql(str(name), None, None).wait("connect")


def _connect(original: Any) -> Any:
    def connect(*args: Any, **more: Any) -> Any:
        if sql.unbooked():
            return original(*args, **more)
        with _connects(args, more):
            return original(*args, **more)

    return connect


def _connect_async(original: Any) -> Any:
    async def connect(*args: Any, **more: Any) -> Any:
        if sql.unbooked():
            return await original(*args, **more)
        with _connects(args, more):
            return await original(*args, **more)

    return connect
