"""redis-py: commands and pipelines, sync and asyncio, of one server and of a cluster."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.cluster

from .call import DB_DURATION, Call, opens, watched, within
from .patches import Patches

_patches = Patches()
NAMES: dict[str, str] = {}
"""host:port to the name a cache is booked under; the client's name is used otherwise."""


def instrument() -> None:
    """Patch the clients; safe to call again."""
    if _patches:
        return
    module: Any
    for module, cluster in ((redis.client, ""), (redis.cluster, "Cluster")):
        _patches.put(getattr(module, f"Redis{cluster}"), "execute_command", _command)
        _patches.put(getattr(module, f"{cluster}Pipeline"), "execute", _pipeline)
    for module, cluster in ((redis.asyncio.client, ""), (redis.asyncio.cluster, "Cluster")):
        _patches.put(getattr(module, f"Redis{cluster}"), "execute_command", _command_async)
        _patches.put(getattr(module, f"{cluster}Pipeline"), "execute", _pipeline_async)


def uninstrument() -> None:
    """Put redis back."""
    _patches.undo()


class _Cache:
    """What all commands to one server have in common."""

    __slots__ = ("attributes", "namespace", "resource")

    def __init__(self, name: str, host: str | None, port: int | None, number: object) -> None:
        self.resource, self.namespace = f"cache:{name}", "" if number is None else str(number)
        self.attributes: dict[str, Any] = {"db.system.name": "redis", "db.operation.name": ""}
        if self.namespace:
            self.attributes["db.namespace"] = self.namespace
        if host:
            self.attributes["server.address"] = host
        if port:
            self.attributes["server.port"] = port


def _cache(client: Any) -> _Cache:
    pool = getattr(client, "connection_pool", None)
    keeper = client if pool is None else pool  # a cluster has no single pool
    known: _Cache | None = getattr(keeper, "_firstcause_cache", None)
    if known is None:
        known = keeper._firstcause_cache = _of_cluster(client) if pool is None else _of_pool(pool)
    return known


def _of_pool(pool: Any) -> _Cache:
    given = pool.connection_kwargs
    # Below a Unix socket there is neither; a sentinel's pool asks for the address each time.
    host = given.get("host", None if "path" in given else "localhost")
    port = None if host is None else given.get("port", 6379)
    name = NAMES.get(f"{host}:{port}") or given.get("client_name") or "redis"
    return _Cache(str(name), host, port, given.get("db", 0))


def _of_cluster(client: Any) -> _Cache:
    # A pipeline of the asyncio client keeps its cluster.
    cluster = getattr(client, "cluster_client", None) or getattr(client, "_client", None) or client
    nodes = getattr(cluster, "nodes_manager", None)
    node = next(iter(getattr(nodes, "startup_nodes", {}).values()), None)
    host, port = getattr(node, "host", None), getattr(node, "port", None)
    return _Cache(str(NAMES.get(f"{host}:{port}") or "redis"), host, port, None)


@opens
def _begin(client: Any, operation: str, args: tuple[Any, ...], batch: int) -> Call:
    cache = _cache(client)
    attributes = cache.attributes.copy()
    attributes["db.operation.name"] = operation
    if batch > 1:
        attributes["db.operation.batch.size"] = batch
    return Call(
        cache.resource, operation, attributes, detail=_detail(operation, args),
        instrument=DB_DURATION, key=("redis", cache.namespace, operation),
    )  # fmt: skip


def _detail(operation: str, args: tuple[Any, ...]) -> str:
    """With the first key's prefix: what comes before the first separator, never a whole key."""
    key = args[1] if len(args) > 1 else None
    if isinstance(key, bytes):
        key = key[:64].decode("utf-8", "replace")
    if not isinstance(key, str):
        return operation
    head, colon, _rest = key.partition(":")
    return f"{operation} {head[:32]}:*" if colon else operation


def _silent() -> bool:
    """Consumers poll and block outside units; inside a queue's frame Redis *is* the queue, in a cluster's its node."""
    return not watched() or within("queue:", "cache:")


def _command(original: Any) -> Any:
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        if not args or _silent():
            return original(self, *args, **options)
        with _begin(self, str(args[0]), args, 0):
            return original(self, *args, **options)

    return execute_command


def _command_async(original: Any) -> Any:
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        pending = original(self, *args, **options)
        if not args or _silent():
            return pending
        # The call begins when it is awaited, which may be long after it was made.
        return _awaited(pending, self, args)

    return execute_command


async def _awaited(pending: Any, client: Any, args: tuple[Any, ...]) -> Any:
    with _begin(client, str(args[0]), args, 0):
        return await pending


def _pipeline(original: Any) -> Any:
    def execute(self: Any, *args: Any, **options: Any) -> Any:
        if _silent():
            return original(self, *args, **options)
        with _begin(self, "PIPELINE", (), _length(self)):
            return original(self, *args, **options)

    return execute


def _pipeline_async(original: Any) -> Any:
    async def execute(self: Any, *args: Any, **options: Any) -> Any:
        if _silent():
            return await original(self, *args, **options)
        with _begin(self, "PIPELINE", (), _length(self)):
            return await original(self, *args, **options)

    return execute


def _length(pipeline: Any) -> int:
    try:
        return len(pipeline)
    except TypeError:
        return 0
