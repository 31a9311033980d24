"""psycopg's pools, sync and asyncio: the wait for a connection, and who holds them."""

from __future__ import annotations

import re
from typing import Any

import psycopg_pool
from psycopg.conninfo import conninfo_to_dict

from .._guard import guard
from ..diagnosis.holders import Holders
from .patches import Patches
from .pools import Reading, taken, waiting, watch

_patches = Patches()
_UNNAMED = re.compile(r"pool-\d+")


def instrument() -> None:
    """Patch both pools; safe to call again."""
    if _patches:
        return
    for pool, get in ((psycopg_pool.ConnectionPool, _getconn), (psycopg_pool.AsyncConnectionPool, _getconn_async)):
        _patches.put(pool, "getconn", get)
        _patches.put(pool, "putconn", _putconn)


def uninstrument() -> None:
    """Put psycopg_pool back."""
    _patches.undo()


def _holders(pool: Any) -> Holders:
    found: Holders | None = getattr(pool, "_firstcause_holders", None)
    if found is None:
        found = pool._firstcause_holders = Holders(f"db_pool:{_name(pool)}")
        watch(found.resource, pool, _reading)
    return found


def _name(pool: Any) -> str:
    if not _UNNAMED.fullmatch(pool.name):
        return str(pool.name)
    with guard("psycopg_pool.name"):
        # As `connect` merges them: keywords win over the string.
        given = {**conninfo_to_dict(pool.conninfo), **(pool.kwargs or {})}
        return str(given.get("dbname") or pool.name)
    return str(pool.name)


def _reading(pool: Any) -> Reading:
    stats = pool.get_stats()
    used = stats.get("pool_size", 0) - stats.get("pool_available", 0)
    return float(used), float(stats.get("pool_max", 0)), float(stats.get("requests_waiting", 0))


def _getconn(original: Any) -> Any:
    def getconn(self: Any, *args: Any, **more: Any) -> Any:
        # Without the pool's lock: whoever loses the last free one to another thread waits unbooked.
        if self._pool:
            connection = original(self, *args, **more)
        else:
            with waiting(_holders(self)):
                connection = original(self, *args, **more)
        _taken(self, connection)
        return connection

    return getconn


def _getconn_async(original: Any) -> Any:
    async def getconn(self: Any, *args: Any, **more: Any) -> Any:
        if self._pool:
            connection = await original(self, *args, **more)
        else:
            with waiting(_holders(self)):
                connection = await original(self, *args, **more)
        _taken(self, connection)
        return connection

    return getconn


def _taken(pool: Any, connection: Any) -> None:
    with guard("psycopg_pool.getconn"):
        connection._firstcause_hold = taken(_holders(pool))


def _putconn(original: Any) -> Any:
    """Also where a connection goes that is broken or closed; the asyncio one returns what is to be awaited."""

    def putconn(self: Any, connection: Any, *args: Any, **more: Any) -> Any:
        with guard("psycopg_pool.putconn"):
            hold = connection.__dict__.pop("_firstcause_hold", None)
            if hold is not None:
                _holders(self).released(hold)
        return original(self, connection, *args, **more)

    return putconn
