"""`python -m checks [gate …]`: run the gates and print the style table; exit 1 when one fails."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import compose, house, hygiene, style, tools

Gate = Callable[[Path], list[str]]
"""Takes the root of the tree and returns one line per problem."""

GATES: dict[str, Gate] = {
    "lint": tools.lint,
    "types": tools.types,
    "generated": tools.generated,
    "style": style.problems,
    "names": house.names,
    "licence": house.licence,
    "folders": house.folders,
    "pins": house.pins,
    "hygiene": hygiene.problems,
    "compose": compose.problems,
}


def main(names: list[str], root: Path = Path(__file__).parent.parent) -> int:
    """Run the named gates, or all; every problem is one printed line."""
    # A misspelt name must not pass for a gate that held.
    unknown = sorted(set(names) - set(GATES))
    if unknown:
        print(f"checks: no gate {', '.join(unknown)}; there are {', '.join(GATES)}", file=sys.stderr)
        return 2
    print(style.table(root), end="\n\n")
    failed = [name for name in names or GATES if not passed(name, GATES[name], root)]
    print(f"checks: {', '.join(failed)} failed" if failed else "checks: all passed")
    return 1 if failed else 0


def passed(name: str, gate: Gate, root: Path) -> bool:
    """Run one gate and say what it found."""
    begun = time.perf_counter()
    found = gate(root)
    print(f"{name:<10} {'FAILED' if found else 'ok'} ({time.perf_counter() - begun:.1f} s)", flush=True)
    for problem in found:
        print(f"  {problem}")
    return not found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
