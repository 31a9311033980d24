"""Django's databases: every query of the ORM and of raw cursors, whatever backend is behind it.

Patched where all of them pass, so that connections made earlier are covered as well. A driver's own adapter
sees that the query is booked already and stays silent. Connecting, commit and rollback are time of the
database without a span.
"""

from __future__ import annotations

import os
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from .call import Call
from .patches import Patches
from .sql import Database, idle, size, statement, unbooked, wait

_patches = Patches()
_SYSTEMS = {"oracle": "oracle.db", "microsoft": "microsoft.sql_server"}
"""Vendors whose name is not the semantic conventions'."""


def instrument() -> None:
    """Patch cursors and connections; safe to call again."""
    if _patches:
        return
    _patches.put(CursorWrapper, "_execute_with_wrappers", _execute)
    for name in ("connect", "_commit", "_rollback"):
        _patches.put(BaseDatabaseWrapper, name, _waiting(name.strip("_").upper()))


def uninstrument() -> None:
    """Put Django's database layer back."""
    _patches.undo()


def _execute(original: Any) -> Any:
    def _execute_with_wrappers(self: Any, sql: Any, params: Any, many: bool, executor: Any) -> Any:
        if idle():
            return original(self, sql, params, many, executor)
        with _begin(self.db, sql, params, many):
            return original(self, sql, params, many, executor)

    return _execute_with_wrappers


def _begin(connection: Any, sql: Any, params: Any, many: bool) -> Call:
    # psycopg's composed statements are objects; their text needs the connection, their form does not.
    text = sql if isinstance(sql, str) else type(sql).__name__
    return statement(_database(connection), text, size(params) if many else 0)


def _waiting(detail: str) -> Any:
    def wrap(original: Any) -> Any:
        def waits(self: Any) -> Any:
            if unbooked():
                return original(self)
            with wait(_database(self), detail):
                return original(self)

        return waits

    return wrap


def _database(connection: Any) -> Database:
    """The resource behind a connection; kept on it, as each has one for its life."""
    known: Database | None = connection.__dict__.get("_firstcause")
    if known is None:
        settings = connection.settings_dict
        # SQLite's name is a path or a URI: its last part says enough.
        name = os.path.basename(str(settings.get("NAME") or "")).partition("?")[0]
        vendor = connection.vendor
        resource = f"db:{vendor}/{name}" if name else f"db:{vendor}"
        known = Database(
            _SYSTEMS.get(vendor, vendor), resource, name, settings.get("HOST") or None, settings.get("PORT")
        )
        connection._firstcause = known
    return known
