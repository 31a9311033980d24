"""Reads one mapping of a specification field by field, and notes what is wrong instead of stopping."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .problems import Problem
from .source import Value

T = TypeVar("T")


class Reader:
    """One mapping; `problems` is shared by all readers of a file."""

    def __init__(self, value: Value, where: str, file: str, problems: list[Problem]) -> None:
        self.value, self.where, self._file, self._problems = value, where, file, problems
        self._data: dict[str, Value] = value.data if isinstance(value.data, dict) else {}
        self._seen: set[str] = set()
        if not isinstance(value.data, dict):
            self.wrong(value.line, f"{where} is {_shown(value)}", "write a mapping of names to values")

    def wrong(self, line: int, message: str, fix: str) -> None:
        """Note a problem."""
        self._problems.append(Problem(self._file, line, message, fix))

    def line(self, key: str = "") -> int:
        """Where a key stands, else where the mapping begins."""
        return self.value.keys.get(key, self.value.line)

    def has(self, key: str) -> bool:
        """Whether the key is there and says something."""
        return key in self._data and self._data[key].data is not None

    def text(self, key: str, *, required: bool = False, fix: str = "") -> str:
        """A text; numbers are read as what they look like."""
        found = self._take(key, (str, int, float), "a text", required=required, fix=fix)
        return "" if found is None else str(found.data)

    def flag(self, key: str) -> bool | None:
        """True, false, or None where it does not stand."""
        found = self._take(key, (bool,), "true or false")
        return None if found is None else bool(found.data)

    def number(self, key: str, *, required: bool = False, fix: str = "") -> float | None:
        """A number."""
        found = self._take(key, (int, float), "a number", required=required, fix=fix)
        # 1.0e+999 is a number to YAML, and infinite as a float.
        if found is not None and not math.isfinite(found.data):
            self.wrong(found.line, f"{self.where}.{key} is {found.data}", "write a finite number")
            return None
        return None if found is None else float(found.data)

    def parsed(self, key: str, parse: Callable[[str], T], fix: str, *, required: bool = False) -> T | None:
        """A text through `parse`, whose ValueError is noted."""
        text = self.text(key, required=required, fix=fix)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            why = f" ({error})" if str(error) and str(error) != text else ""
            self.wrong(self.line(key), f"{self.where}.{key}={text[:80]!r} cannot be read{why}", fix)
            return None

    def one_of(self, key: str, known: Iterable[str], *, required: bool = False) -> str:
        """A text out of a few."""
        known = tuple(known)
        text = self.text(key, required=required, fix="use " + " or ".join(known))
        if text and text not in known:
            self.wrong(
                self.line(key), f"{self.where}.{key}={text[:80]!r} is not supported", "use " + " or ".join(known)
            )
            return ""
        return text

    def inner(self, key: str, *, required: bool = False, fix: str = "") -> Reader | None:
        """A mapping inside."""
        found = self._take(key, (dict,), "a mapping", required=required, fix=fix)
        return None if found is None else Reader(found, f"{self.where}.{key}", self._file, self._problems)

    def list(self, key: str, *, required: bool = False, fix: str = "") -> list[Reader]:
        """The mappings of a list."""
        found = self._take(key, (list,), "a list", required=required, fix=fix)
        items: list[Value] = found.data if found else []
        return [Reader(item, f"{self.where}.{key}[{n}]", self._file, self._problems) for n, item in enumerate(items)]

    def texts(self, key: str) -> dict[str, str]:
        """A mapping of texts, such as labels."""
        inner = self.inner(key)
        return {} if inner is None else {name: inner.text(name) for name in inner._data}

    def refuse(self, key: str, why: str, fix: str) -> None:
        """A key of the standard that is not supported: refused by its name."""
        self._seen.add(key)
        if key in self._data:
            self.wrong(self.line(key), f"{self.where}.{key} is not supported ({why})", fix)

    def done(self) -> None:
        """Note every key that nobody asked for."""
        for key in self._data:
            if key not in self._seen:
                near = difflib.get_close_matches(key, self._seen, 1)
                fix = f"did you mean {near[0]}?" if near else "remove it"
                self.wrong(self.line(key), f"{self.where}.{key[:80]} is no key of OpenSLO v1 here", fix)
        self._seen.update(self._data)

    def _take(
        self, key: str, kinds: tuple[type, ...], what: str, *, required: bool = False, fix: str = ""
    ) -> Value | None:
        self._seen.add(key)
        found = self._data.get(key)
        if found is None or found.data is None:
            if required:
                self.wrong(self.line(), f"{self.where}.{key} is missing", fix or f"add {what}")
            return None
        # True is an int in Python; `value: yes` must not be read as 1.
        if not isinstance(found.data, kinds) or (isinstance(found.data, bool) and bool not in kinds):
            self.wrong(found.line, f"{self.where}.{key} is {_shown(found)}", f"write {what}")
            return None
        return found


def _shown(value: Value) -> Any:
    names = {dict: "a mapping", list: "a list", type(None): "empty"}
    return names.get(type(value.data)) or repr(value.data)[:80]
