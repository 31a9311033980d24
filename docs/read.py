"""Reads what the SDK says of itself: docstrings, signatures, and the strings under fields."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, is_dataclass
from typing import Any


def text_of(thing: Any) -> str:
    """The docstring, dedented; "" without one."""
    return inspect.getdoc(thing) or ""


def fields_of(cls: type) -> dict[str, str]:
    """Each annotated field of a class body, and the string under it (in one line; "" without one)."""
    # From the source: Python forgets a string under a field as soon as it is compiled.
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    found: dict[str, str] = {}
    name = ""
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            found[name] = ""
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[name] = " ".join(str(node.value.value).split())
            name = ""
        else:
            name = ""
    return found


def signature(name: str, thing: Any) -> str:
    """`name(parameter: type = default) -> type`, with annotations as they are written."""
    made = inspect.signature(thing)
    given = [one for one in made.parameters.values() if one.name != "self"]
    # "None" is a string: modules with postponed annotations give them as they are written.
    returns = "" if inspect.isclass(thing) or made.return_annotation in (None, "None") else made.return_annotation
    arrow = f" -> {_annotation(returns)}" if returns not in ("", inspect.Signature.empty) else ""
    return f"{name}({', '.join(_parameters(given))}){arrow}"


def _parameters(given: list[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for one in given:
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        starred = starred or one.kind is inspect.Parameter.VAR_POSITIONAL
        yield _parameter(one)


def _parameter(one: inspect.Parameter) -> str:
    stars = "*" * ((one.kind is one.VAR_POSITIONAL) + 2 * (one.kind is one.VAR_KEYWORD))
    kind = "" if one.annotation is inspect.Parameter.empty else f": {_annotation(one.annotation)}"
    default = "" if one.default is inspect.Parameter.empty else f" = {_default(one.default)}"
    return f"{stars}{one.name}{kind}{default}"


def _default(value: Any) -> str:
    # The repr of an object holds its address, another one in each run, and the page would never be up to date.
    return "…" if repr(value).startswith("<") else repr(value)


def _annotation(written: Any) -> str:
    return written if isinstance(written, str) else getattr(written, "__name__", str(written))


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class itself documents, in the order of its source."""
    # `dir` or `inspect.getmembers` would sort them, and add what is inherited.
    for name, thing in vars(cls).items():
        plain = thing.fget if isinstance(thing, property) else thing
        if not name.startswith("_") and callable(plain) and text_of(plain):
            yield name, thing


def has_own_signature(cls: type) -> bool:
    """Whether users call it: data that only we make is described by its fields instead."""
    return not is_dataclass(cls)


def default_of(one: Any) -> Any:
    """The default of a dataclass field."""
    return one.default if one.default is not MISSING else one.default_factory()
