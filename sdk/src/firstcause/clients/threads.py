"""Context through threads and executors, and the wait for a worker thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

from ..diagnosis.ledger import FRAME, close_frame, open_frame

_originals: dict[str, Any] = {}
WORKERS = frozenset(("aiosqlite", "anyio", "concurrent", "firstcause", "huey", "multiprocessing", "sqlalchemy"))
"""Packages whose threads outlive the request that happened to start them."""


def instrument_threads() -> None:
    """Patch `ThreadPoolExecutor.submit` (so also `map` and `run_in_executor`) and `Thread.start`."""
    if "submit" in _originals:
        return
    _originals["submit"] = submit = ThreadPoolExecutor.submit
    _originals["start"] = start = threading.Thread.start

    def carried_submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if FRAME.get() is None:
            return submit(self, fn, *args, **kwargs)
        run = copy_context().run
        # A worker that the pool starts for this call outlives it: it must not begin in our context.
        token = FRAME.set(None)
        try:
            return submit(self, run, fn, *args, **kwargs)
        finally:
            FRAME.reset(token)

    def carried_start(self: threading.Thread) -> None:
        if FRAME.get() is not None and not _serves_all(self):
            self.run = _carried(self, copy_context(), self.run)  # type: ignore[method-assign]
        start(self)

    ThreadPoolExecutor.submit = carried_submit  # type: ignore[method-assign]
    threading.Thread.start = carried_start  # type: ignore[method-assign]


def _serves_all(thread: threading.Thread) -> bool:
    """Whether a library started the thread to work for every request to come."""
    target = getattr(thread, "_target", None)
    owner = type(thread).__module__ if target is None else getattr(target, "__module__", None) or ""
    return owner.partition(".")[0] in WORKERS


def _carried(thread: threading.Thread, context: Context, run: Callable[[], None]) -> Callable[[], None]:
    def carried() -> None:
        # The thread object may be kept for long; the request it worked for must not be.
        thread.__dict__.pop("run", None)
        context.run(run)

    return carried


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
            # Without effect once a thread has begun; else the caller gave up waiting for one.
            close_frame(frame, cancelled=True)

    anyio.to_thread.run_sync = run_sync  # type: ignore[assignment]


def uninstrument() -> None:
    """Put anyio back."""
    if "anyio" in _originals:
        import anyio.to_thread

        anyio.to_thread.run_sync = _originals.pop("anyio")
