"""Patches of other people's classes and modules, put on once and taken off in reverse order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Wrap = Callable[[Any], Any]
"""From the library's function to the one that stands in for it."""


class Patches:
    """What one adapter has replaced; false while there is nothing."""

    def __init__(self) -> None:
        self._originals: list[tuple[Any, str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._originals)

    def put(self, owner: Any, name: str, wrap: Wrap) -> None:
        """Replace `owner.name`; AttributeError when the library has no such seam (then the adapter stays off)."""
        # From the owner itself where it has one: a class method must not come back bound.
        own = vars(owner).get(name)
        original = getattr(owner, name)
        self._originals.append((owner, name, original if own is None else own))
        if isinstance(own, classmethod):
            setattr(owner, name, classmethod(wrap(own.__func__)))
        else:
            setattr(owner, name, wrap(original))

    def undo(self) -> None:
        """Put everything back."""
        while self._originals:
            owner, name, original = self._originals.pop()
            setattr(owner, name, original)
