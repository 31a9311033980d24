"""YAML text to values that know their line. What is hostile or ambiguous is a problem, never a crash.

Nothing is constructed by the YAML library: its node graph is walked, so that an alias costs what it stands for,
and a file that unfolds beyond the bound is refused instead of unfolded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from .problems import Problem, SpecError

MAX_BYTES = 1_000_000
"""A file of a thousand objectives has about 700 kB."""
# A thousand objectives have some 35,000; nine lines of aliases can unfold to millions.
MAX_VALUES = 100_000
# Our own files reach 8.
MAX_DEPTH = 30
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar, list or mapping with the line it begins at (from 1)."""

    line: int
    data: Any
    """str, int, float, bool, None, a list of `Value`, or a dict of str to `Value`."""
    keys: dict[str, int] = field(default_factory=dict)
    """Of a mapping: the line of each key."""


def read(text: str, file: str) -> list[Value]:
    """The documents of a file. Raises `SpecError`."""
    if len(text) > MAX_BYTES:
        size = f"{len(text) / 1e6:.1f} MB of YAML"
        raise SpecError([Problem(file, 1, size, f"split it: a file may have {MAX_BYTES / 1e6:.0f} MB")])
    try:
        roots = list(yaml.compose_all(text, Loader=Loader))
    except yaml.YAMLError as error:
        raise SpecError([_broken(error, file)]) from None
    except RecursionError:
        raise SpecError([Problem(file, 1, "nested too deeply", f"use at most {MAX_DEPTH} levels")]) from None
    walk = _Walk(file)
    documents = [walk.value(root, 0) for root in roots if root is not None]
    if walk.problems:
        raise SpecError(walk.problems)
    return documents


def _broken(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Problem(file, mark.line + 1 if mark else 1, f"no YAML ({said})", "mend the syntax here or just above")


class _Walk:
    def __init__(self, file: str) -> None:
        self._file = file
        self._left = MAX_VALUES
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, depth: int) -> Value:
        """The node and all below it; empty beyond the bounds, which are one problem."""
        line = node.start_mark.line + 1
        self._left -= 1
        if self._left <= 0 or depth > MAX_DEPTH:
            self._too_much(line)
            return Value(line, None)
        if isinstance(node, yaml.ScalarNode):
            return Value(line, self._scalar(node))
        if isinstance(node, yaml.SequenceNode):
            return Value(line, [self.value(child, depth + 1) for child in self._within(node.value)])
        return self._mapping(node, line, depth)

    def _within(self, children: list[Any]) -> Iterator[Any]:
        for child in children:
            if self._left > 0:
                yield child

    def _too_much(self, line: int) -> None:
        if not self.problems or "unfolds" not in self.problems[-1].message:
            message = f"unfolds to more than {MAX_VALUES} values or {MAX_DEPTH} levels"
            self.problems.append(Problem(self._file, line, message, "remove the aliases, or split the file"))

    def _mapping(self, node: Any, line: int, depth: int) -> Value:
        found: dict[str, Value] = {}
        keys: dict[str, int] = {}
        for key, child in self._within(node.value):
            name, at = str(getattr(key, "value", "")), key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(Problem(self._file, at, "a key that is no text", "use a plain name"))
            # PyYAML would keep the last one without a word.
            elif name in found:
                self.problems.append(Problem(self._file, at, f"{name} stands here twice", "remove one of them"))
            else:
                found[name], keys[name] = self.value(child, depth + 1), at
        return Value(line, found, keys)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        tag, text = node.tag.rpartition(":")[2], node.value
        try:
            if tag == "int":
                return int(text.replace("_", ""))
            if tag == "float":
                return float(text.replace("_", ""))
        except ValueError:
            return text  # octal and base 60, which nobody means
        return text.lower() in ("true", "yes", "on") if tag == "bool" else None if tag == "null" else text
