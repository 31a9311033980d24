"""Time that stands still inside the SDK until a test moves it.

The SDK reads the time through names its modules imported; under the kit those names are bound to a
`Clock`, so that in production nothing stands between it and the system's clock.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

from .._variables import seconds

START_S = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""
_REAL = ("firstcause._watch", "firstcause.testing")
"""Who goes on reading the system's clock: the watch measures real lateness, of real threads."""


class Clock:
    """What the SDK reads while `Capture.freeze` is in force; only `tick` moves it."""

    def __init__(self, at_s: float = START_S) -> None:
        self._lock = threading.Lock()
        self._monotonic, self._wall = time.perf_counter_ns(), int(at_s * 1e9)
        self._again: Callable[[], None] = lambda: None

    def tick(self, step: float | str) -> None:
        """Move on by seconds, or by a text such as `"50ms"`; raises ValueError for anything else, and below 0."""
        ns = round((seconds(step) if isinstance(step, str) else step) * 1e9)
        if ns < 0:
            raise ValueError(f"{step!r} would turn time back: tick by 0 or more")
        self._again()
        with self._lock:
            self._monotonic += ns
            self._wall += ns

    def _perf_counter_ns(self) -> int:
        return self._monotonic

    def _time_ns(self) -> int:
        return self._wall

    def _thread_time_ns(self) -> int:
        return 0  # CPU time is not simulated


def freeze(stack: ExitStack, clock: Clock) -> None:
    """Let the SDK read `clock` until `stack` closes; what the runtime withholds is left out as well."""
    from ..diagnosis import clock as stalls

    def bind() -> None:
        for name in ("perf_counter_ns", "time_ns", "thread_time_ns"):
            rebind(stack, getattr(time, name), getattr(clock, f"_{name}"), _REAL)

    bind()
    swap(stack, clock, _again=bind)  # a module that was imported since reads the clock from the next tick on
    swap(stack, stalls.Clock, read=lambda self, now: self.parts, stalled=lambda self, ns, where="": None)


def swap(stack: ExitStack, owner: Any, **values: Any) -> None:
    """Set attributes of `owner`, until `stack` closes."""
    for name, value in values.items():
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)


def rebind(stack: ExitStack, original: Any, replacement: Any, skip: tuple[str, ...] = ()) -> None:
    """Replace a function in every module of the SDK that imported it by name, until `stack` closes."""
    for module in _modules(skip):
        for name, value in list(vars(module).items()):
            if value is original:
                swap(stack, module, **{name: replacement})


def _modules(skip: tuple[str, ...]) -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.startswith("firstcause.") and not name.startswith(skip) and module is not None:
            yield module
