"""Context through threads and executors, and the wait for a worker thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from ..diagnosis.ledger import FRAME, close_frame, open_frame

_originals: dict[str, Any] = {}


def instrument_threads() -> None:
    """Patch `ThreadPoolExecutor.submit` (so also `map` and `run_in_executor`) and `Thread.start`."""
    if "submit" in _originals:
        return
    _originals["submit"] = submit = ThreadPoolExecutor.submit
    _originals["start"] = start = threading.Thread.start

    def carried_submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if FRAME.get() is None:
            return submit(self, fn, *args, **kwargs)
        return submit(self, copy_context().run, fn, *args, **kwargs)

    def carried_start(self: threading.Thread) -> None:
        if FRAME.get() is not None:
            context, run = copy_context(), self.run
            self.run = lambda: context.run(run)  # type: ignore[method-assign]
        start(self)

    ThreadPoolExecutor.submit = carried_submit  # type: ignore[method-assign]
    threading.Thread.start = carried_start  # type: ignore[method-assign]


def uninstrument_threads() -> None:
    """Put the standard library back."""
    if "submit" in _originals:
        ThreadPoolExecutor.submit = _originals.pop("submit")  # type: ignore[method-assign]
        threading.Thread.start = _originals.pop("start")  # type: ignore[method-assign]


def instrument() -> None:
    """Book the wait for one of anyio's worker threads to `runtime:threadpool`."""
    import anyio.to_thread

    if "anyio" in _originals:
        return
    _originals["anyio"] = original = anyio.to_thread.run_sync

    async def run_sync(func: Any, *args: Any, **kwargs: Any) -> Any:
        frame = open_frame("runtime:threadpool")
        if frame is None:
            return await original(func, *args, **kwargs)

        def begun(*given: Any) -> Any:
            close_frame(frame)
            return func(*given)

        try:
            return await original(begun, *args, **kwargs)
        finally:
            close_frame(frame, cancelled=True)

    anyio.to_thread.run_sync = run_sync  # type: ignore[assignment]


def uninstrument() -> None:
    """Put anyio back."""
    if "anyio" in _originals:
        import anyio.to_thread

        anyio.to_thread.run_sync = _originals.pop("anyio")
