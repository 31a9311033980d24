"""The line of visitors who live far away: a SOCKS5 proxy on loopback that really keeps every byte for a while."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from asyncio import Queue, StreamReader, StreamWriter

PIECE = 65_536
GREETING, GRANTED = b"\x05\x00", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
"""No password is asked for; connected (RFC 1928)."""
_IPV4, _NAME = 1, 3


class Relay(threading.Thread):
    """Takes connections at `port`; a round trip takes `delay_s` more than without it. Give it another while it runs."""

    def __init__(self) -> None:
        super().__init__(name="relay", daemon=True)
        self.delay_s = 0.0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._loop = asyncio.new_event_loop()

    def run(self) -> None:
        """Relay until `close`."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._relay, sock=self._listening))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))  # one turn, for the cancelled to end before their loop does
        self._loop.close()

    def close(self) -> None:
        """Hang up on everybody."""
        if self.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self.join(10)
        self._listening.close()

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            far_reader, far_writer = await asyncio.open_connection(*await asked(reader, writer))
            await asyncio.sleep(self.delay_s)  # a connection takes a round trip
            writer.write(GRANTED)
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        writer.close()

    async def _carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One direction, half a round trip long: pieces stay in order, and many are on their way at once."""
        way: Queue[tuple[float, bytes]] = Queue()
        arriving = asyncio.create_task(self._arrive(way, writer))
        try:
            piece = b"?"
            while piece:
                piece = await reader.read(PIECE)
                way.put_nowait((self._loop.time() + self.delay_s / 2, piece))
            await arriving
        finally:
            arriving.cancel()

    async def _arrive(self, way: Queue[tuple[float, bytes]], writer: StreamWriter) -> None:
        piece = b"?"
        while piece:
            due, piece = await way.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            writer.write(piece)
            await writer.drain()
        writer.close()


async def asked(reader: StreamReader, writer: StreamWriter) -> tuple[str, int]:
    """Where the other side wants to be connected with."""
    _version, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(GREETING)  # at once: the proxy stands beside the visitor, what is far lies behind it
    _version, _command, _reserved, kind = await reader.readexactly(4)
    if kind == _IPV4:
        host = socket.inet_ntoa(await reader.readexactly(4))
    elif kind == _NAME:
        # Chromium leaves every name to the proxy; synthetic visitors send addresses.
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode("ascii")
    else:
        raise OSError("neither a name nor an address of version 4")
    return host, int.from_bytes(await reader.readexactly(2), "big")
