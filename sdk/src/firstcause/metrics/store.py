"""Where this process's counters live: in memory, and in a shared folder as soon as it has relatives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._guard import count, guard
from .arena import Arena, Follower, Key

if TYPE_CHECKING:
    from .group import Group, Member

_NOWHERE = memoryview(b"").cast("Q")


class Store:
    """The arena of this process and, under a server that forks or spawns workers, the group it counts in.

    `group` makes the group when one is needed; it returns None where there is no room for one. Indices
    from `slots` stay right while the process lives and become meaningless in a fork: `renew` there.
    """

    def __init__(self, group: Callable[[], Group | None] | None = None, *, now: bool = False) -> None:
        self.words = _NOWHERE
        self.group: Group | None = None
        self._make_group = group
        self._arena: Arena | None = None
        self._opening = threading.Lock()
        self.own = Follower()
        if now:
            self._share()

    def slots(self, key: Key, n: int) -> int:
        """Index of `n` new slots; those of nobody when the arena is full, which is counted."""
        arena = self._arena or self._open()
        found = arena.allocate(key, n)
        if found:
            return found
        count("firstcause.self.overflow", attribute="arena")
        return arena.scratch

    def _open(self) -> Arena:
        # The keeper's thread joins before the first count; a request that comes meanwhile must not join a second time.
        with self._opening:
            if self._arena is None:
                arena: Arena | None = None
                with guard("metrics.join"):
                    if self.group is not None:
                        arena = self.group.join()
                if arena is None:
                    # The folder cannot be used: better counted alone than not at all.
                    self.group = None
                    arena = Arena()
                # In this order: who sees the arena counts in its words.
                self.words, self._arena = arena.words, arena
            return self._arena

    def _share(self) -> None:
        with guard("metrics.share"):
            if self._make_group is not None:
                self.group = self._make_group()

    def before_fork(self, lock: Any) -> None:
        """In the parent: what was counted in memory alone moves to where children can add theirs."""
        # A fork must not hang on a lock: without it the child counts for itself.
        if self.group is not None or self._make_group is None or not lock.acquire(timeout=1):
            return
        try:
            self._share()
            arena = self._arena
            if self.group is not None:
                with guard("metrics.before_fork"):
                    self._arena = self.group.join(Arena if arena is None else arena.moved)
                    self.words = self._arena.words
        finally:
            lock.release()

    def renew(self) -> None:
        """In a child: leave the parent's arena to the parent; the child's own is made with its first count."""
        self._opening = threading.Lock()
        arena, self._arena, self.words, self.own = self._arena, None, _NOWHERE, Follower()
        if self.group is not None:
            self.group = self.group.again()
        if arena is not None:
            # This copy of the descriptor holds the parent's lock: left open, a dead parent would look alive.
            arena.close()

    def join(self) -> None:
        """Be seen by the others, even before the first count."""
        if self._arena is None:
            self._open()

    def raw(self) -> bytes:
        """A copy of this process's words."""
        return b"" if self._arena is None else self._arena.raw()

    def follower(self, name: str) -> Follower:
        """What is known of a sibling's records."""
        return Follower() if self.group is None else self.group.follower(name)

    def others(self) -> list[Member]:
        """What the rest of the group counted."""
        return [] if self.group is None else self.group.members()


def new_lock() -> Any:
    """The lock of the hot path; a function, so that a fork can have a fresh one."""
    return threading.Lock()


def forks() -> bool:
    """Whether this platform can fork at all."""
    return hasattr(os, "register_at_fork")
