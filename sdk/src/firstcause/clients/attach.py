"""Which adapter goes with which library, and when it is put on."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._guard import count, guard

if TYPE_CHECKING:
    from .._recorder import Recorder

ADAPTERS = {
    "httpx": "httpx",
    "requests": "requests",
    "sqlalchemy": "sqlalchemy",
    "redis": "redis",
    "huey": "huey",
    "anyio.to_thread": "threads",
}
"""Imported library to our module; the standard library's threads are always covered."""

_finder: _Finder | None = None


def install(recorder: Recorder) -> None:
    """Tell the adapters whom they work for."""
    from . import call

    call.RUNTIME.recorder = recorder


def instrument_all() -> list[str]:
    """Put adapters on what is imported, and be there when the rest is; one line per adapter."""
    global _finder
    from . import threads

    threads.instrument_threads()
    lines = [_put_on(ours) for library, ours in ADAPTERS.items() if library in sys.modules]
    if _finder is None:
        _finder = _Finder()
        sys.meta_path.insert(0, _finder)
    return ["threads", *filter(None, lines)]


def uninstrument_all() -> None:
    """Take everything off again; for tests."""
    global _finder
    if _finder is not None:
        sys.meta_path.remove(_finder)
        _finder = None
    from . import threads

    threads.uninstrument_threads()
    for ours in ADAPTERS.values():
        module = sys.modules.get(f"{__package__}.{ours}")
        if module is not None:
            module.uninstrument()


def _put_on(ours: str) -> str:
    module: Any = None
    try:
        module = importlib.import_module(f".{ours}", __package__)
        module.instrument()
    except Exception as error:  # noqa: BLE001 - a version of the library that we do not know must not stop the host
        count("firstcause.self.errors", place=f"clients.{ours}")
        with guard("clients.detach"):
            if module is not None:
                module.uninstrument()  # half a patch is worse than none
        return f"{ours}: not attached ({type(error).__name__}: {error})"
    return ours


class _Finder(MetaPathFinder):
    """Lets the ordinary finders find a library, and puts the adapter on after its module has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in ADAPTERS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader, name)
                return spec
        return None


class _Loader(Loader):
    """The library's own loader, with one more thing to do at the end."""

    def __init__(self, inner: Any, name: str) -> None:
        self._inner, self._name = inner, name

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._inner.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._inner
        if module.__spec__ is not None:
            module.__spec__.loader = self._inner
        self._inner.exec_module(module)
        with guard("clients.import"):
            _put_on(ADAPTERS[self._name])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
