"""The API reference: every public name, as its docstring has it."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from .read import fields_of, has_own_signature, members, signature, text_of

MODULES = ("firstcause", "firstcause.testing")


def page() -> str:
    """The page's text below its mark."""
    parts = ["# API reference", _INTRO]
    for name in MODULES:
        module = importlib.import_module(name)
        parts += [f"## `{name}`", text_of(module)]
        parts += [part for public in module.__all__ for part in _entry(public, getattr(module, public))]
    return "\n\n".join(part for part in parts if part)


_INTRO = "Settings that `configure` and `Capture` take: [configuration.md](configuration.md)."


def _entry(name: str, thing: Any) -> list[str]:
    if not inspect.isclass(thing):
        return [f"### `{signature(name, thing)}`", text_of(thing)]
    # Users catch exceptions and do not make them; the signature of one would say nothing they need.
    heading = signature(name, thing) if has_own_signature(thing) and not issubclass(thing, Exception) else name
    fields = [f"- `{field}`: {says}" if says else f"- `{field}`" for field, says in fields_of(thing).items()]
    inside = [part for member, one in members(thing) for part in _member(name, member, one)]
    return [f"### `{heading}`", text_of(thing), "\n".join(fields), *inside]


def _member(owner: str, name: str, thing: Any) -> list[str]:
    if isinstance(thing, property):
        returns = inspect.signature(thing.fget).return_annotation if thing.fget else ""
        return [f"#### `{owner}.{name}: {returns}`", text_of(thing)]
    return [f"#### `{signature(f'{owner}.{name}', thing)}`", text_of(thing)]
