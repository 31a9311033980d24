"""Never break the host: one guard around everything that runs inside somebody else's request.

A telemetry bug at run time is swallowed here, counted under `firstcause.self.errors` and logged
once per place. What is dropped anywhere in the SDK is counted with `count`, so that nothing is
lost silently.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType

_log = logging.getLogger("firstcause")
_counts: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
# Re-entrant: a signal handler or finalizer may count while its own thread is counting.
_lock = threading.RLock()
_seen: set[str] = set()
_strict = False


def count(name: str, n: int = 1, **attributes: str) -> None:
    """Add `n` to a self-metric (`firstcause.self.*`); cheap enough for error paths, not for hot ones."""
    key = (name, tuple(sorted(attributes.items())))
    with _lock:
        _counts[key] = _counts.get(key, 0) + n


def self_counts() -> dict[tuple[str, tuple[tuple[str, str], ...]], int]:
    """A copy of all self-metrics, keyed by (name, sorted attribute pairs)."""
    with _lock:
        return dict(_counts)


def reset_self_counts() -> None:
    """Forget all counts and places; for tests."""
    with _lock:
        _counts.clear()
    _seen.clear()


def strict(on: bool) -> None:
    """Let guarded errors through (tests of the SDK itself); hosts leave this off."""
    global _strict
    _strict = on


def after_fork() -> None:
    """A child may inherit the lock in its locked state: take a fresh one."""
    global _lock
    _lock = threading.RLock()


class guard:
    """Context manager that swallows every `Exception` raised inside it.

    `place` names the code for the counter and for the single log line; keep it a constant.
    `BaseException`s that are no `Exception` (cancellation, interpreter exit) pass through.
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        return report(self.place, error)


def report(place: str, error: BaseException) -> bool:
    """Count and log (once per place) an error of ours; True when it may be swallowed."""
    if not isinstance(error, Exception):
        return False
    count("firstcause.self.errors", place=place)
    # Bounded, as a place may hold a module's name; at the interpreter's end logging may be half gone.
    if place not in _seen and len(_seen) < 1000 and not sys.is_finalizing():
        _seen.add(place)
        _log.warning("telemetry error in %s, the application is not affected: %r", place, error)
    return not _strict
