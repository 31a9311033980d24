"""The load client of the bench."""

from __future__ import annotations

import asyncio

import pytest

from bench.load import request, run


@pytest.mark.parametrize("status", [200, 500])
async def test_answers_in_pieces_are_counted_once(status: int) -> None:
    """However a reply is cut, it is one answer, and good only when it is a 200."""
    served = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            served += 1
            for piece in (f"HTTP/1.1 {status} X\r\ncontent-", "length: 4\r\n", "\r\nab", "cd"):
                writer.write(piece.encode())
                await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        done = await run(server.sockets[0].getsockname()[1], request("/x"), 0.1, connections=3)
    expected = (served, 0) if status == 200 else (0, served)
    assert expected == (done.answered, done.failed)
    assert served > 3


async def test_a_server_that_hangs_up_is_a_failure() -> None:
    """A lost connection is never taken for a fast answer."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        done = await run(server.sockets[0].getsockname()[1], request("/x"), 0.5, connections=2)
    assert (0, 2) == (done.answered, done.failed)
