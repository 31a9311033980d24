"""Lines to a stream, from a thread of their own: a pipe that nobody reads must not stop the host."""

from __future__ import annotations

import os
import threading
from collections import deque
from time import monotonic
from typing import BinaryIO

from .._guard import count

MOST = 10_000
"""Lines waiting for a slow reader; beyond it the newest are dropped, and counted."""


class Lines:
    """A bounded queue of encoded lines and one daemon thread that writes them in batches."""

    def __init__(self, stream: BinaryIO, most: int = MOST) -> None:
        self._stream, self._most = stream, most
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[bytes] = deque()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def after_fork(self) -> None:
        """The child starts with an empty queue; the parent writes what it had."""
        self._reset()

    def put(self, line: bytes) -> None:
        """Queue one line (with its newline); never blocks, never raises."""
        if len(self._queue) >= self._most:
            count("firstcause.self.dropped", signal="log_lines", reason="queue_full")
            return
        self._queue.append(line)
        if self._thread is None:
            self._begin()
        if not self._wake.is_set():
            self._idle.clear()
            self._wake.set()

    def _begin(self) -> None:
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="firstcause-lines", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._wake.wait()
            pause.wait(0.02)  # gather a batch: one write for many lines
            self._wake.clear()
            self._write()
            if not self._queue:
                self._idle.set()

    def _write(self) -> None:
        lines = [self._queue.popleft() for _ in range(len(self._queue))]
        left = memoryview(b"".join(lines))
        try:
            while left:
                left = left[self._stream.write(left) or 0 :]
            self._stream.flush()
        except (OSError, ValueError):
            count("firstcause.self.dropped", len(lines), signal="log_lines", reason="stream_closed")

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything queued is written, for at most `timeout_s`."""
        deadline = monotonic() + timeout_s
        while self._queue or not self._idle.is_set():
            if not self._idle.wait(max(0.0, deadline - monotonic())):
                return False
            if monotonic() >= deadline:
                return not self._queue
        return True
