"""redis-py: commands and pipelines, sync and asyncio."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio

from ..diagnosis.ledger import FRAME
from .call import RUNTIME, Call, opens

_originals: list[tuple[type, str, Any]] = []
NAMES: dict[str, str] = {}
"""Client name or host:port to the name a cache is booked under; the client's name is used otherwise."""


def instrument() -> None:
    """Patch both clients; safe to call again."""
    if _originals:
        return
    for module, command, pipeline in (
        (redis.client, _command, _pipeline),
        (redis.asyncio.client, _command_async, _pipeline_async),
    ):
        _patch(module.Redis, "execute_command", command)
        _patch(module.Pipeline, "execute", pipeline)


def uninstrument() -> None:
    """Put redis back."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)


def _patch(owner: type, name: str, wrap: Any) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    setattr(owner, name, wrap(original))


@opens
def _begin(client: Any, operation: str, args: tuple[Any, ...]) -> Call:
    pool = client.connection_pool
    name = getattr(pool, "_firstcause_name", None) or _name(pool)
    attributes = {"db.system.name": "redis", "db.operation.name": operation}
    return Call(f"cache:{name}", operation, attributes, detail=f"{operation} {_key(args)}".strip())


def _name(pool: Any) -> str:
    given = pool.connection_kwargs
    place = f"{given.get('host', 'localhost')}:{given.get('port', 6379)}"
    name = str(NAMES.get(place) or given.get("client_name") or "redis")
    pool._firstcause_name = name
    return name


def _key(args: tuple[Any, ...]) -> str:
    """The first key's prefix: what comes before the first separator, never a whole key."""
    if len(args) < 2 or not isinstance(args[1], (str, bytes)):
        return ""
    text = args[1] if isinstance(args[1], str) else args[1].decode("utf-8", "replace")
    head, colon, _rest = text.partition(":")
    return f"{head[:32]}:*" if colon else ""


def _silent() -> bool:
    """Outside units nobody pays (consumers poll and block there); inside a queue's frame Redis *is* the queue."""
    frame = FRAME.get()
    return frame is None or RUNTIME.recorder is None or frame.resource.startswith("queue:")


def _command(original: Any) -> Any:
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        if _silent() or not args:
            return original(self, *args, **options)
        with _begin(self, str(args[0]), args):
            return original(self, *args, **options)

    return execute_command


def _command_async(original: Any) -> Any:
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        pending = original(self, *args, **options)
        if _silent() or not args:
            return pending
        return _awaited(pending, self, args)

    return execute_command


async def _awaited(pending: Any, client: Any, args: tuple[Any, ...]) -> Any:
    with _begin(client, str(args[0]), args):
        return await pending


def _pipeline(original: Any) -> Any:
    def execute(self: Any, *args: Any, **options: Any) -> Any:
        if _silent():
            return original(self, *args, **options)
        with _begin(self, "PIPELINE", ()):
            return original(self, *args, **options)

    return execute


def _pipeline_async(original: Any) -> Any:
    async def execute(self: Any, *args: Any, **options: Any) -> Any:
        if _silent():
            return await original(self, *args, **options)
        with _begin(self, "PIPELINE", ()):
            return await original(self, *args, **options)

    return execute
