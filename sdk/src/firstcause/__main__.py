"""`firstcause run <command>` and `firstcause doctor`; also `python -m firstcause`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import __version__, _run


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["doctor"]:  # has options of its own
        from .doctor import main as doctor

        return int(doctor(given[1:]))
    parser = argparse.ArgumentParser(prog="firstcause", description="Every request carries its own diagnosis.")
    parser.add_argument("--version", action="version", version=f"firstcause {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{run,doctor}")
    run = verbs.add_parser("run", help="run a command and watch it, without a change of its code")
    _run.add_arguments(run)
    verbs.add_parser("doctor", help="prove that it works, and name what silently does not", add_help=False)
    return _run.main(parser.parse_args(given))


if __name__ == "__main__":
    sys.exit(main())
