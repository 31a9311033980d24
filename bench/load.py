"""A lean HTTP/1.1 client: keep-alive connections with one request under way on each (closed loop)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Slice:
    """What one slice of load did. A failure is any answer but 200, or a lost connection."""

    seconds: float
    answered: int = 0
    failed: int = 0
    until: float = field(init=False)

    def __post_init__(self) -> None:
        self.until = time.perf_counter() + self.seconds


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, running: Slice, done: asyncio.Future[None]) -> None:
        self._request, self._slice, self._done = request, running, done
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._end()
        if end < 0 or len(self._buffer) < end:
            return
        self._count(self._buffer.startswith(b"HTTP/1.1 200"))
        self._buffer = self._buffer[end:]
        assert self._transport is not None
        if time.perf_counter() < self._slice.until:
            self._transport.write(self._request)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        # We hang up at the end only: before it, it was the server.
        if time.perf_counter() < self._slice.until:
            self._slice.failed += 1
        if not self._done.done():
            self._done.set_result(None)

    def _end(self) -> int:
        # Just enough of HTTP for these servers, which give a length in lower case: the load must not be the bottleneck.
        head = self._buffer.find(b"\r\n\r\n")
        at = self._buffer.find(b"content-length: ")
        if head < 0 or at < 0:
            return -1
        return head + 4 + int(self._buffer[at + 16 : self._buffer.index(b"\r", at)])

    def _count(self, good: bool) -> None:
        self._slice.answered += good
        self._slice.failed += not good


def request(path: str, headers: dict[str, str] | None = None) -> bytes:
    """The bytes of one GET."""
    lines = [f"GET {path} HTTP/1.1", "host: bench"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def run(port: int, content: bytes, seconds: float, connections: int = 16) -> Slice:
    """Load a server on loopback for `seconds`, waiting for what is under way at the end."""
    loop = asyncio.get_running_loop()
    running = Slice(seconds)
    ends: list[asyncio.Future[None]] = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        await loop.create_connection(lambda end=done: _Connection(content, running, end), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.wait_for(asyncio.gather(*ends), seconds + 30)
    return running
