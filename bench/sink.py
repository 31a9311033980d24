"""Where exporters send during a bench: a collector that answers at once, and one that never does.

Run as `python -m bench.sink <fd answering> <fd silent>`; nothing is decoded, so that the sink costs little.
"""

from __future__ import annotations

import asyncio
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read each POST to its end and say yes."""
    try:
        while True:
            # Names of headers have no case (RFC 9110, 5.1), and each exporter writes them its own way.
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
            await reader.readexactly(int(length or 0))
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything and never reply."""
    try:
        # It reads on: with full buffers a sender would hang in its write, and never come to wait for an answer.
        while await reader.read(65536):
            pass
    finally:
        writer.close()


async def serve(answering: int, silent: int) -> None:
    """Serve both on inherited listening sockets until killed."""
    first = await asyncio.start_server(answer, sock=socket.socket(fileno=answering))
    second = await asyncio.start_server(swallow, sock=socket.socket(fileno=silent))
    await asyncio.gather(first.serve_forever(), second.serve_forever())


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
