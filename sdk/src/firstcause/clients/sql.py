"""Statements as they may be shown, and what all calls to one database have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ..diagnosis.ledger import FRAME, Frame
from ..logs.redaction import redact_sql
from .call import DB_DURATION, Call, opens, watched, within

STATEMENTS = 512
"""Statements remembered per database; whoever writes values into the text makes a new one each time."""
LONGEST = 8192
"""Longer statements are cut before they are searched, and not remembered."""
SHOWN, DETAIL, SUMMARY, TABLES = 2048, 100, 120, 4
ENDINGS = frozenset(("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"))
"""Time of the database, but no span: there is nothing in them to read."""
# Possessive (`*+`): a statement may hold anything, and must not make the search go back over it.
_TABLE = re.compile(
    r"(?:\b(?:FROM|JOIN|INTO)|^(?:UPDATE|COPY|(?:TRUNCATE|CREATE|ALTER|DROP)(?:\s+\w+)??\s+TABLE))\s+(?:ONLY\s+|IF\s+(?:NOT\s+)?EXISTS\s+)*"
    r"([A-Za-z_\"`\[][\w.\"`\]$]*+)",
    re.IGNORECASE,
)


class Statement(NamedTuple):
    """What a statement may be called."""

    text: str
    operation: str
    summary: str


def read(statement: str) -> Statement:
    """Text without literals, the operation, and a summary of few values: operation and tables."""
    text = redact_sql(statement[:LONGEST])
    operation = re.split(r"[\s(;]", text, maxsplit=1)[0].upper()[:16]
    found = dict.fromkeys(name.strip('"`[]') for name in _TABLE.findall(text))
    # `COPY t FROM STDIN` names no table there.
    tables = [name for name in found if name.upper() not in ("STDIN", "STDOUT")][:TABLES]
    return Statement(text[:SHOWN], operation, " ".join([operation, *tables])[:SUMMARY])


class _Sort(NamedTuple):
    """What repeats with a statement: everything but the time."""

    name: str
    attributes: dict[str, Any]
    detail: str
    key: tuple[str, ...]
    span: bool


class Database:
    """One database as a resource; made once per engine or address and kept where the driver keeps its own."""

    __slots__ = ("_common", "_sorts", "namespace", "resource", "system")

    def __init__(self, system: str, resource: str, namespace: str, host: str | None, port: object) -> None:
        self.system, self.resource, self.namespace = system, resource, namespace
        self._sorts: dict[str, _Sort] = {}
        self._common: dict[str, Any] = {"db.system.name": system}
        if namespace:
            self._common["db.namespace"] = namespace
        if host:
            self._common["server.address"] = host
        if str(port or "").isdigit():
            self._common["server.port"] = int(str(port))

    def statement(self, statement: str, batch: int = 0) -> Call:
        """A call that runs `statement`; of a batch, how many times."""
        sort = self._sorts.get(statement) or self._sort(statement)
        attributes = sort.attributes.copy()
        if batch > 1:
            attributes["db.operation.batch.size"] = batch
        return Call(
            self.resource, sort.name, attributes, detail=sort.detail, span=sort.span,
            instrument=DB_DURATION, key=sort.key,
        )  # fmt: skip

    def _sort(self, statement: str) -> _Sort:
        text, operation, summary = read(statement)
        attributes = {
            **self._common, "db.operation.name": operation, "db.query.summary": summary, "db.query.text": text
        }  # fmt: skip
        key = (self.system, self.namespace, operation)
        sort = _Sort(summary, attributes, text[:DETAIL], key, operation not in ENDINGS)
        if len(statement) <= LONGEST:
            if len(self._sorts) >= STATEMENTS:
                # Emptied when full, which is cheaper than an LRU: what repeats is back at once.
                self._sorts.clear()
            self._sorts[statement] = sort
        return sort

    def wait(self, detail: str) -> Call:
        """A wait for the database that is no statement of its own: a frame and no span."""
        return Call(self.resource, detail, {}, detail=detail, span=False)


@lru_cache(maxsize=256)
def postgresql(namespace: str, host: str | None, port: object) -> Database:
    """A PostgreSQL database, booked alike whichever driver or ORM asks."""
    return Database("postgresql", f"db:postgresql/{namespace}" if namespace else "db:postgresql", namespace, host, port)


def idle() -> bool:
    """Whether a driver has nothing to say: nobody watches, or the ORM above it has said it."""
    return not watched() or within("db:")


def unbooked() -> bool:
    """Whether a wait without a span has no ledger to go to, or is inside a call that has a frame."""
    frame: Frame | None = FRAME.get()
    return frame is None or frame.resource.startswith("db:")


@opens
def statement(database: Database, text: str, batch: int = 0) -> Call:
    """`database.statement`, never raising into the host."""
    return database.statement(text, batch)


@opens
def wait(database: Database, detail: str) -> Call:
    """`database.wait`, never raising into the host."""
    return database.wait(detail)


def size(parameters: object) -> int:
    """How many sets of parameters there are, 0 when only iterating would tell."""
    return len(parameters) if isinstance(parameters, Sequence) else 0
