"""uvicorn, with a limit that it lacks: the size of a request's head."""

from __future__ import annotations

import gc
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 131_072
"""Bytes received before a head is complete. A small body may come in the same piece, so this is above its limit."""
_REFUSED = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """Hangs up on a head that does not end."""

    _before_body = 0
    _in_head = True

    def data_received(self, data: bytes) -> None:
        """Count what comes before the head is complete."""
        if self._in_head:
            self._before_body += len(data)
            if self._before_body > MOST_HEAD:
                self.transport.write(_REFUSED)
                self.transport.close()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes next is another head."""
        self._before_body, self._in_head = 0, True
        super().on_message_complete()


def run(app: Any, host: str, port: int) -> None:
    """Serve until told to stop.

    Addresses are ours to judge: uvicorn would take the leftmost that a caller wrote.
    """
    import uvicorn

    # Ten thousand views are remembered, none of them in a cycle: to look for cycles among them is wasted.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    uvicorn.run(
        app, host=host, port=port, http=Protocol, proxy_headers=False, access_log=False, server_header=False,
        timeout_keep_alive=30, log_level="warning",
    )  # fmt: skip
