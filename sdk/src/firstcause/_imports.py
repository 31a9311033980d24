"""Be there when a module is imported, now or later."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Seen = Callable[[ModuleType], None]
_waiting: dict[str, list[Seen]] = {}
_busy = threading.local()


def after_import(name: str, seen: Seen) -> None:
    """Call `seen(module)` once: now if it is imported already, else right after its code has run.

    What `seen` raises is swallowed and counted; the host's import succeeds all the same.
    """
    module = sys.modules.get(name)
    if module is not None:
        _tell(module, [seen])
        return
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        # In front: the first finder that knows a module ends the search.
        sys.meta_path.insert(0, _Finder())
    _waiting.setdefault(name, []).append(seen)


def forget(seen: Seen) -> None:
    """Take a callback back, wherever it still waits; when nobody waits, imports are left alone again."""
    for waiting in _waiting.values():
        while seen in waiting:
            waiting.remove(seen)
    if not any(_waiting.values()):
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


def _tell(module: ModuleType, seen: Sequence[Seen]) -> None:
    from ._guard import guard

    for each in seen:
        with guard(f"imports.{module.__name__}"):
            each(module)


def finish(names: Sequence[str]) -> None:
    """Import what threads may be importing right now, so that a fork takes no half of a module along.

    A child has only the thread that forked: what another had begun nobody finishes, and whoever imports it
    in the child waits for ever, the host too.
    """
    from ._guard import guard

    for name in names:
        with guard("imports.fork"):
            import_module(name)  # waits for whoever is at it


class _Finder(MetaPathFinder):
    """Lets the ordinary finders find a module that somebody waits for, and comes in at its end."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # Other finders of this kind ask us in turn: the second question about a name is theirs to answer.
        if not _waiting.get(name) or getattr(_busy, "name", "") == name:
            return None
        _busy.name = name
        try:
            spec = _found(self, name, path, target)
        finally:
            _busy.name = ""
        if spec is not None and spec.loader is not None:
            spec.loader = AtEnd(spec.loader, lambda module: _tell(module, _waiting.pop(name, [])))
        return spec


def _found(
    own: MetaPathFinder, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        find = None if finder is own else getattr(finder, "find_spec", None)
        spec = find(name, path, target) if find is not None else None
        if spec is not None:
            return spec  # type: ignore[no-any-return]
    return None


class AtEnd(Loader):
    """A module's own loader, which calls `then(module)` after the module's code has run."""

    def __init__(self, inner: Any, then: Seen) -> None:
        self._inner, self._then = inner, then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._inner.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # Before its code runs: who asks a module for resources or source wants the real loader.
        module.__loader__ = self._inner
        if module.__spec__ is not None:
            module.__spec__.loader = self._inner
        self._inner.exec_module(module)
        self._then(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
