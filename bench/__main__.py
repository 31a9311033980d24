"""`python -m bench [part …] [options]`: run the named parts, or all there are."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

PARTS = (
    "overhead", "instructions", "clients", "verdicts", "alerts", "percentiles", "scrape", "hostile", "soak", "imports",
    "rum", "stack",
)  # fmt: skip


def present() -> list[str]:
    """The parts whose module exists here."""
    here = Path(__file__).parent
    return [part for part in PARTS if (here / f"{part}.py").exists() or (here / part).is_dir()]


def main(arguments: list[str]) -> int:
    """Run parts one after another; options go to each of them; the worst exit status wins."""
    named = [argument for argument in arguments if argument in PARTS]
    options = [argument for argument in arguments if argument not in PARTS]
    missing = sorted(set(named) - set(present()))
    if missing:
        print(f"bench: no such part here: {', '.join(missing)}", file=sys.stderr)
        return 2
    parts = named or present()
    return max([importlib.import_module(f"bench.{part}").main(options) for part in parts], default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
