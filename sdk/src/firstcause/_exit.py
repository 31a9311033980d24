"""The end of a process, whichever way it comes: what is queued goes out, within one bound.

    return, sys.exit, gunicorn's workers   `atexit`
    SIGTERM with nobody handling it        our handler, which then lets the signal do its work
    multiprocessing children               a finalizer, because they skip `atexit`
    uvicorn                                at the end of its own shutdown: it restores the handlers that were
                                           there before, and raises the signal again

A handler of the host's is never replaced, and a second SIGTERM ends the process at once.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable
from time import monotonic, sleep
from types import ModuleType
from typing import Any

from ._guard import guard
from ._imports import after_import

AGAIN_S = 30.0
"""Calls within this time of the first share its bound: one exit has many ways through here."""
ENDING_S = 0.1
"""How long units may still end that were answered when the signal came: a thread has yet to say so."""
_LOOK_S = 0.005


class Exit:
    """Calls `flush` and `shutdown`, each with seconds, so that all of one exit takes at most `bound_s`."""

    def __init__(
        self,
        flush: Callable[[float], object],
        shutdown: Callable[[float], object],
        bound_s: float,
        in_flight: Callable[[], int] = int,
    ) -> None:
        self._flush, self._shutdown, self._bound_s, self._in_flight = flush, shutdown, bound_s, in_flight
        self._until = 0.0

    def install(self) -> None:
        """Be called at the end of this process and of its children."""
        atexit.register(self.over)
        self._on_sigterm()
        after_import("multiprocessing.util", self._on_multiprocessing)
        after_import("uvicorn.server", self._on_uvicorn)

    def left_s(self) -> float:
        """Seconds that remain of the bound; the first call starts it."""
        now = monotonic()
        if now > self._until + AGAIN_S:
            self._until = now + self._bound_s
        return max(0.0, self._until - now)

    def over(self) -> None:
        """The process ends."""
        with guard("exit"):
            self._let_units_end(min(ENDING_S, self.left_s() / 4))
            self._shutdown(self.left_s())

    def _let_units_end(self, most_s: float) -> None:
        until = monotonic() + most_s
        quiet = 0 if self._in_flight() > 0 else 1
        # A unit leaves the count before it is handed to the pipelines: two looks in a row.
        while quiet < 2 and monotonic() < until:
            sleep(_LOOK_S)
            quiet = quiet + 1 if self._in_flight() <= 0 else 0

    def flushed(self) -> None:
        """The process is about to end, or to go on after all."""
        with guard("exit.flush"):
            self._flush(self.left_s())

    def after_fork(self) -> None:
        """The child has an end of its own."""
        self._until = 0.0

    def _on_sigterm(self) -> None:
        # Python lets only the main thread set handlers.
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminated)

    def _terminated(self, number: int, _frame: Any) -> None:
        if os.getpid() == 1:  # the first process of a container: the kernel spares it, with us as without
            self.flushed()
            return
        signal.signal(number, signal.SIG_DFL)  # first: who asks twice does not want to wait
        self.over()
        # Whoever waits for us is to see that the signal ended us.
        os.kill(os.getpid(), number)

    def _on_multiprocessing(self, util: Any) -> None:
        def begun(_marker: object) -> None:
            # Behind multiprocessing's own finalizers and the host's, which may still trace and log.
            util.Finalize(None, self.over, exitpriority=-100)

        # The registry of a child is emptied before its function runs, and refilled by these.
        util.register_after_fork(self, begun)
        process = _multiprocessing()
        if process is not None and process.parent_process() is not None:
            begun(self)

    def _on_uvicorn(self, module: Any) -> None:
        inner = module.Server.shutdown

        async def shutdown(server: Any, *args: Any, **kwargs: Any) -> None:
            try:
                await inner(server, *args, **kwargs)
            finally:
                if getattr(server, "_captured_signals", None):
                    self.flushed()

        module.Server.shutdown = shutdown


def _multiprocessing() -> Any:
    import sys

    found: ModuleType | None = sys.modules.get("multiprocessing.process")
    return found
