"""Pools of connections: the wait for one, who holds them and since where, and how full the pool is."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from time import perf_counter_ns
from types import FrameType, TracebackType
from typing import Any

from .._watch import place_of
from ..diagnosis.holders import WAITS, Hold, Holders
from ..diagnosis.ledger import FRAME
from .call import RUNTIME, Call, opens

Reading = tuple[float, float, float]
"""In use, limit (infinite when overflow is), waiting."""
_LIBRARIES = (os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(__file__)))
"""The standard library and this SDK."""
_pools: dict[str, weakref.WeakKeyDictionary[Any, Callable[[Any], Reading]]] = {}
"""All pools of one name: a disposed engine makes a new one, and some services have two to one database."""


def waiting(holders: Holders) -> AbstractContextManager[object]:
    """Around the wait for a connection: a frame that adopts what the holders are doing; nothing outside units."""
    return nullcontext() if FRAME.get() is None else _Waiting(holders)


class _Waiting:
    def __init__(self, holders: Holders) -> None:
        self._before = perf_counter_ns()
        self._call = _queueing(holders)

    def __enter__(self) -> None:
        self._call.__enter__()
        if self._call.frame is not None:
            WAITS.begin(self._call.frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        frame = self._call.frame
        if frame is not None:
            WAITS.end(frame)
            frame.detail = f"waited {(perf_counter_ns() - self._before) // 1_000_000} ms for a connection"
        self._call.__exit__(kind, error, trace)


@opens
def _queueing(holders: Holders) -> Call:
    return Call(holders.resource, "checkout", {}, detail="waits for a connection", holders=holders, span=False)


def taken(holders: Holders) -> Hold:
    """Note that the running code got a connection; give the result to `holders.released`."""
    return holders.acquired(FRAME.get(), caller())


def watch(resource: str, pool: Any, reading: Callable[[Any], Reading]) -> None:
    """Let the metrics read `pool` with all others of its name."""
    recorder = RUNTIME.recorder
    if recorder is None:
        return
    pools = _pools.setdefault(resource, weakref.WeakKeyDictionary())
    pools[pool] = reading
    # A copy, since pools may be collected while they are read.
    recorder.metrics.watch(resource, lambda: _total([read(pool) for pool, read in list(pools.items())]))


def _total(readings: list[Reading]) -> Reading:
    return sum(r[0] for r in readings), sum(r[1] for r in readings), sum(r[2] for r in readings)


def caller() -> str:
    """Where the application asked: the innermost frame outside libraries, across the greenlet of async engines."""
    frame: FrameType | None = sys._getframe(2)
    found = _outside(frame)
    # Not imported by us: without an async engine a host may have no greenlet at all.
    if found is None and "greenlet" in sys.modules:
        parent = sys.modules["greenlet"].getcurrent().parent
        found = None if parent is None else _outside(parent.gr_frame)
    return "" if found is None else place_of(found)


def _outside(frame: FrameType | None) -> FrameType | None:
    while frame is not None and _of_library(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


@lru_cache(maxsize=4096)
def _of_library(name: str) -> bool:
    # By name: to hash a code object takes longer than to walk the whole stack.
    return "site-packages" in name or "dist-packages" in name or name.startswith(("<", *_LIBRARIES))
