"""Lines to a stream, from a thread of their own: a pipe that nobody reads must not stop the host."""

from __future__ import annotations

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import BinaryIO, Protocol

from .._guard import count, guard, report

MOST = 10_000
"""Lines waiting for a slow reader; beyond it the newest are dropped, and counted."""
ATOMIC = 4096
"""Bytes that Linux writes to a pipe in one piece: lines of several workers on one pipe stay whole."""
_UNMADE = 512
"""Lines that may wait as what they are made from, which is larger: enough for one batch."""
_GATHER_S = 0.02
_LOOK_S = 0.005


class Line(Protocol):
    """Something that is a line once it is asked."""

    def line(self) -> bytes: ...


class Lines:
    """A bounded queue of lines and one daemon thread that writes them in batches."""

    def __init__(self, stream: BinaryIO, most: int = MOST) -> None:
        self._stream, self._most, self._unmade = stream, most, min(most, _UNMADE)
        self._piece = _piece(stream)
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[bytes | Line] = deque()
        self._writing = 0
        # A held lock as a bell, as in the pipeline: ringing it is safe in a signal handler, and in a finalizer.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self._asleep = True
        """Whether the thread waits to be woken, or was never started."""

    def after_fork(self) -> None:
        """The child starts with an empty queue; the parent writes what it had."""
        self._reset()

    def put(self, line: bytes | Line) -> None:
        """Queue one line (with its newline), or what makes it in the writer's thread; never blocks, never raises."""
        queue = self._queue
        if len(queue) >= self._unmade:
            if len(queue) >= self._most:
                count("firstcause.self.dropped", signal="log_lines", reason="queue_full")
                return
            line = _made(line)
        queue.append(line)
        if self._asleep:
            self._stir()

    def _stir(self) -> None:
        """Wake the thread, or start it."""
        if self._thread is None:
            with guard("logs.lines.start"):
                self._begin()
            return
        self._asleep = False
        self._ring()

    def _begin(self) -> None:
        # Whoever finds the lock taken leaves the start to its holder rather than wait.
        if not self._start.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="firstcause-lines", daemon=True)
                thread.start()  # raises when the interpreter is going: the next line tries again
                self._thread = thread
        finally:
            self._start.release()

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:  # rung already
            return

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._asleep = True
            if not self._queue:
                self._bell.acquire()
            self._asleep = False
            pause.wait(_GATHER_S)  # gather a batch: few writes for many lines
            with guard("logs.lines"):
                self._write_queued()

    def _write_queued(self) -> None:
        for piece, lines in self._pieces():
            try:
                self._write(piece)
            except (OSError, ValueError):
                count("firstcause.self.dropped", lines, signal="log_lines", reason="stream_closed")
        self._writing = 0

    def _pieces(self) -> Iterator[tuple[bytes, int]]:
        """What is queued now in pieces of whole lines, with the number of lines in each."""
        queue, piece, size = self._queue, list[bytes](), 0
        for _ in range(len(queue)):
            self._writing = len(piece) + 1  # before it leaves the queue: `flush` must not miss it
            try:
                line = _made(queue.popleft())
            except IndexError:  # abandoned meanwhile
                break
            if piece and size + len(line) > self._piece:
                yield b"".join(piece), len(piece)
                piece, size = [], 0
            piece.append(line)
            size += len(line)
        if piece:
            yield b"".join(piece), len(piece)

    def _write(self, piece: bytes) -> None:
        left = memoryview(piece)
        while left:
            written = self._stream.write(left)
            if written is None:  # somebody made the stream non-blocking
                select.select([], [self._stream], [], 1.0)
            left = left[written or 0 :]
        self._stream.flush()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything queued is written, for at most `timeout_s`; safe in a signal handler."""
        deadline = monotonic() + timeout_s
        pause = threading.Event()
        while self._queue or self._writing:
            if self._thread is None and not self._revived():
                return False
            if monotonic() >= deadline:
                return False
            pause.wait(_LOOK_S)
        return True

    def _revived(self) -> bool:
        with guard("logs.lines.start"):
            self._begin()
        return self._thread is not None

    def abandon(self) -> None:
        """Count what nobody reads: the process ends."""
        left = len(self._queue) + self._writing
        self._queue.clear()
        if left:
            count("firstcause.self.dropped", left, signal="log_lines", reason="shutdown")


def _made(line: bytes | Line) -> bytes:
    """The line itself; an empty one, counted, where it cannot be made."""
    if line.__class__ is bytes:
        return line
    try:
        return line.line()  # type: ignore[union-attr]
    except Exception as error:  # noqa: BLE001 - one bad line must not cost its batch
        count("firstcause.self.dropped", signal="log_lines", reason="encode")
        report("logs.line", error)
        return b""


def _piece(stream: BinaryIO) -> int:
    """The most bytes for one write: small where other processes may write to the same pipe."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return 1 << 20
    return ATOMIC if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else 1 << 20
