"""A payments service in bytes, no code generated: the same eight methods for `grpc` and for `grpc.aio`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio

import firstcause
from firstcause.diagnosis.unit import current_unit

SERVICE = "shop.Payments"
seen: list[Any] = []
"""The units that handlers worked for."""
NAPS_S = {b"slow": 0.15, b"late": 1.0}


def _identity(data: bytes) -> bytes:
    return data


def charge(request: bytes, context: Any) -> bytes:
    """One for one."""
    seen.append(current_unit())
    if request == b"raise":
        raise LookupError("no such card, password=hunter2")
    if request == b"abort":
        context.abort(grpc.StatusCode.UNAVAILABLE, "later")
    if request == b"missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "nobody")
    if request == b"declined":
        context.set_trailing_metadata((("reason", "limit"),))
        context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
    with firstcause.spending("lock:ledger"):
        time.sleep(NAPS_S.get(request, 0.0))
    return b"charged " + request


def watch(request: bytes, context: Any) -> Iterator[bytes]:
    """One for many."""
    for n in range(3):
        if request == b"raise" and n == 2:
            raise LookupError("gone")
        if request == b"endless" and n == 1:
            gone = threading.Event()
            context.add_callback(gone.set)
            gone.wait(30)
        time.sleep(0.06 if request == b"long" else 0.02)
        yield b"%d" % n


def total(requests: Iterator[bytes], context: Any) -> bytes:
    """Many for one."""
    return b"%d" % sum(int(request) for request in requests)


def echo(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    """Many for many."""
    yield from requests


async def charge_async(request: bytes, context: Any) -> bytes:
    """`charge` on the loop."""
    seen.append(current_unit())
    if request == b"raise":
        raise LookupError("no such card, password=hunter2")
    if request == b"abort":
        await context.abort(grpc.StatusCode.UNAVAILABLE, "later")
    if request == b"missing":
        await context.abort(grpc.StatusCode.NOT_FOUND, "nobody")
    if request == b"declined":
        context.set_trailing_metadata((("reason", "limit"),))
        context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
    with firstcause.spending("lock:ledger"):
        await asyncio.sleep(NAPS_S.get(request, 0.0))
    return b"charged " + request


async def watch_async(request: bytes, context: Any) -> AsyncIterator[bytes]:
    """`watch` on the loop."""
    for n in range(3):
        if request == b"raise" and n == 2:
            raise LookupError("gone")
        if request == b"endless" and n == 1:
            await asyncio.Event().wait()  # until the call is cancelled
        await asyncio.sleep(0.02)
        yield b"%d" % n


async def total_async(requests: AsyncIterator[bytes], context: Any) -> bytes:
    """`total` on the loop."""
    return b"%d" % sum([int(request) async for request in requests])


async def echo_async(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """`echo` on the loop."""
    async for request in requests:
        yield request


async def written_async(request: bytes, context: Any) -> None:
    """`watch`, by the other way to answer with a stream."""
    for n in range(3):
        await context.write(b"%d" % n)


def handlers(one: Any, many: Any, added: Any, both: Any, **more: Any) -> Any:
    """The service's generic handler."""
    made = {
        "Charge": grpc.unary_unary_rpc_method_handler(one, _identity, _identity),
        "Watch": grpc.unary_stream_rpc_method_handler(many, _identity, _identity),
        "Total": grpc.stream_unary_rpc_method_handler(added, _identity, _identity),
        "Echo": grpc.stream_stream_rpc_method_handler(both, _identity, _identity),
        **{name: grpc.unary_stream_rpc_method_handler(behave, _identity, _identity) for name, behave in more.items()},
    }
    return grpc.method_handlers_generic_handler(SERVICE, made)


def serve(workers: int = 4) -> tuple[Any, str]:
    """A running `grpc` server and its target."""
    server = grpc.server(ThreadPoolExecutor(workers))
    server.add_generic_rpc_handlers((handlers(charge, watch, total, echo),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


async def serve_async() -> tuple[Any, str]:
    """A running `grpc.aio` server and its target; `Old` is a method that is no coroutine."""
    server = grpc.aio.server()
    made = handlers(charge_async, watch_async, total_async, echo_async, Written=written_async, Old=watch)
    server.add_generic_rpc_handlers((made,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


def stub(channel: Any, name: str) -> Any:
    """The callable of one method on either kind of channel."""
    kind = {"Charge": "unary_unary", "Total": "stream_unary", "Echo": "stream_stream"}.get(name, "unary_stream")
    return getattr(channel, kind)(f"/{SERVICE}/{name}", request_serializer=_identity, response_deserializer=_identity)


if __name__ == "__main__":
    firstcause.configure(service="payments")
    running, where = serve()
    print(where, flush=True)
    running.wait_for_termination()
