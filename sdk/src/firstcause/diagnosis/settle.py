"""The critical path of overlapping work, as pure interval arithmetic.

At each instant the time belongs to one frame: among siblings to the one that *ends last*
(that is what the request waited for), a cancelled one only where no completed one is active,
and inside the winner to its innermost active child by the same rule. A frame that closed
before its children stays active for them, so that its parent stays paused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

Stamp = tuple[int, tuple[int, ...]]
"""A moment: nanoseconds, then the runtime's stall readings at it (monotonic, so stamps order by time)."""
Window = tuple[Stamp, Stamp]

F = TypeVar("F")


class Node(Generic[F]):
    """One frame's place in the tree: its own interval, and its children's."""

    __slots__ = ("cancelled", "children", "end", "frame", "start")

    def __init__(self, frame: F, start: Stamp, end: Stamp, cancelled: bool) -> None:
        self.frame, self.start, self.end, self.cancelled = frame, start, end, cancelled
        self.children: list[Node[F]] = []

    def close(self) -> Stamp:
        """Extend the end over the children that outlive their parent; returns it."""
        for child in self.children:
            self.end = max(self.end, child.close())
        return self.end


def settle(nodes: Iterable[Node[F]], window: Window) -> list[tuple[F, Window]]:
    """Which frame owns which part of `window`; parts that no frame covers are left out.

    `nodes` are the top-level ones, children attached. Discard a frame by leaving its node out
    and attaching its children to the nearest node kept.
    """
    top = list(nodes)
    # Before anybody is ranked: what counts is the end of a frame's whole subtree.
    for node in top:
        node.close()
    owned: list[tuple[F, Window]] = []
    _assign(top, [window], owned)
    return owned


def _assign(nodes: Sequence[Node[F]], windows: list[Window], owned: list[tuple[F, Window]]) -> list[Window]:
    """Hand `windows` out among siblings, latest completed first; returns what nobody took."""
    for node in sorted(nodes, key=_rank, reverse=True):
        mine, windows = _cut(windows, node.start, node.end)
        if mine and node.children:
            mine = _assign(node.children, mine, owned)
        owned.extend((node.frame, window) for window in mine)
    return windows


def _rank(node: Node[Any]) -> tuple[bool, Stamp]:
    return (not node.cancelled, node.end)


def _cut(windows: list[Window], start: Stamp, end: Stamp) -> tuple[list[Window], list[Window]]:
    """Split `windows` into what lies inside [start, end) and the rest."""
    inside: list[Window] = []
    rest: list[Window] = []
    for a, b in windows:
        left, right = max(a, start), min(b, end)
        if left >= right:
            rest.append((a, b))
            continue
        inside.append((left, right))
        if a < left:
            rest.append((a, left))
        if right < b:
            rest.append((right, b))
    return inside, rest
