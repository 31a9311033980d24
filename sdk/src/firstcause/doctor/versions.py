"""Questions about what is installed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata

from .examination import ERROR, WARNING, Check, Context, Finding

# Not `packaging`, on which the SDK does not depend: its own requirements have these forms only.
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*?)\s*(?:;\s*(.*))?$")
_BOUND = re.compile(r"(>=|<|==)\s*([0-9][0-9.]*)")


def libraries(_context: Context) -> list[Finding]:
    """What we require and what we adapt to, in the versions that are tested."""
    return [
        Finding(f"{name} {found} is installed, firstcause is for {wanted}", name, f"pip install '{name}{wanted}'")
        for name, wanted in wanted_versions(metadata.requires("firstcause") or ())
        if (found := installed(name)) and not fits(found, wanted)
    ]


def wanted_versions(requirements: Iterator[str] | list[str] | tuple[()]) -> Iterator[tuple[str, str]]:
    """(name, bounds) of requirement lines, those of extras included: what is adapted to is in an extra."""
    for line in requirements:
        found = _REQUIREMENT.match(line)
        if found and found[2]:
            yield found[1], found[2].strip("() ")


def installed(name: str) -> str:
    """The version, "" when it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def fits(version: str, bounds: str) -> bool:
    """Whether a version keeps its bounds; of a version only the numbers count."""
    return all(_holds(_numbers(version), sign, _numbers(bound)) for sign, bound in _BOUND.findall(bounds))


def _holds(version: tuple[int, ...], sign: str, bound: tuple[int, ...]) -> bool:
    length = max(len(version), len(bound))
    left, right = (numbers + (0,) * (length - len(numbers)) for numbers in (version, bound))
    return left >= right if sign == ">=" else left < right if sign == "<" else left == right


def _numbers(text: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def contrib(_context: Context) -> list[Finding]:
    """Contrib instrumentations that are in use, and give up on a version with one log line."""
    return list(_conflicts())


def _conflicts() -> Iterator[Finding]:
    if "opentelemetry.instrumentation.instrumentor" not in sys.modules:
        return
    from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

    for entry in metadata.entry_points(group="opentelemetry_instrumentor"):
        # Only what is imported can be in use; loading the others would import their libraries.
        module = sys.modules.get(entry.module)
        kind = getattr(module, entry.attr, None)
        if kind is None:
            continue
        conflict = get_dependency_conflicts(kind().instrumentation_dependencies())
        if conflict is not None:
            what = f"this instrumentation does nothing: it requires {conflict.required}, but found {conflict.found}"
            yield Finding(what, entry.module, "leave it off; firstcause has an adapter of its own for most libraries")


CHECKS = (
    Check("versions", "Libraries are in the tested range", WARNING, libraries),
    Check("contrib-versions", "Contrib instrumentations accept what they meet", ERROR, contrib, ("app",)),
)
