"""Which adapter goes with which library, and when it is put on."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._guard import count, guard
from .._imports import AtEnd

if TYPE_CHECKING:
    from .._recorder import Recorder

ADAPTERS = {
    "httpx": "httpx",
    "requests": "requests",
    "urllib3": "urllib3",
    "aiohttp": "aiohttp",
    "sqlalchemy": "sqlalchemy",
    "psycopg": "psycopg",
    "psycopg_pool": "psycopg_pool",
    "asyncpg": "asyncpg",
    "redis": "redis",
    "huey": "huey",
    "celery.app.base": "celery",
    "grpc": "grpc",
    "django.db.backends.utils": "django",
    "django.core.handlers.wsgi": ".servers.django",
    "django.core.handlers.asgi": ".servers.django",
    "loguru": ".logs.loguru",
    "anyio.to_thread": "threads",
}
"""Imported library to our module; the standard library's threads are always covered."""

_OURS = {importlib.util.resolve_name(f".{ours}", __package__): ours for ours in ADAPTERS.values()}
"""Who imports an adapter by its name (to set a cache's, say) imports the library through it."""
_finder: _Finder | None = None


def install(recorder: Recorder) -> None:
    """Tell the adapters whom they work for."""
    from . import call

    call.RUNTIME.recorder = recorder


def instrument_all() -> list[str]:
    """Put adapters on what is imported, and be there when the rest is; one line per adapter."""
    global _finder
    from . import deadlines, threads

    threads.instrument_threads()
    deadlines.instrument_deadlines()
    lines = [_put_on(ours) for library, ours in ADAPTERS.items() if library in sys.modules]
    if _finder is None:
        _finder = _Finder()
        sys.meta_path.insert(0, _finder)
    # Several libraries may share one adapter.
    return list(dict.fromkeys(["threads", *filter(None, lines)]))


def uninstrument_all() -> None:
    """Take everything off again; for tests."""
    global _finder
    if _finder is not None:
        sys.meta_path.remove(_finder)
        _finder = None
    from . import deadlines, threads

    threads.uninstrument_threads()
    deadlines.uninstrument_deadlines()
    for ours in ADAPTERS.values():
        # Importing an adapter only to take it off would import its library.
        module = sys.modules.get(importlib.util.resolve_name(f".{ours}", __package__))
        if module is not None:
            module.uninstrument()


def _put_on(ours: str, module: Any = None) -> str:
    if _switched_off(ours.rpartition(".")[2]):
        return ""
    try:
        if module is None:
            module = importlib.import_module(f".{ours}", __package__)
            if getattr(module.__spec__, "_initializing", False):
                return ""  # it is what imported the library: its turn comes when it has run
        module.instrument()
    except Exception as error:  # noqa: BLE001 - a version of the library that we do not know must not stop the host
        count("firstcause.self.errors", place=f"clients.{ours}")
        with guard("clients.detach"):
            if module is not None:
                module.uninstrument()  # half a patch is worse than none
        return f"{ours}: not attached ({type(error).__name__}: {error})"
    return ours.removeprefix(".")


def _switched_off(name: str) -> bool:
    from .call import RUNTIME

    off = () if RUNTIME.recorder is None else RUNTIME.recorder.config.disabled_instrumentations
    return name in off or "*" in off


class _Finder(MetaPathFinder):
    """Lets the ordinary finders find a library, and puts the adapter on after its module has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in ADAPTERS and name not in _OURS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = AtEnd(spec.loader, partial(_imported, name))
                return spec
        return None


def _imported(name: str, module: ModuleType) -> None:
    with guard("clients.import"):
        if name in _OURS:
            _put_on(_OURS[name], module)
        else:
            _put_on(ADAPTERS[name])
