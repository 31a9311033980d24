"""The command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.util import find_spec
from typing import NoReturn

from . import attachment, evidence, network, processes, settings, versions
from .examination import ERROR, OK, WARNING, Check, examine
from .loading import context_of
from .report import as_json, as_text, worst
from .startline import StartLine, parse

CHECKS: tuple[Check, ...] = (
    *settings.CHECKS, *attachment.CHECKS, *evidence.CHECKS, *processes.CHECKS, *network.CHECKS, *versions.CHECKS,
)  # fmt: skip
PATH = "/firstcause-doctor"
"""A path that no application has: it passes every middleware and runs no code of anybody's route."""
USAGE = 64
"""As in sysexits.h; 2 means errors were found."""
_EXITS = """
exit codes:
  0   no errors (warnings are printed)
  1   warnings, with --strict
  2   errors
  64  the command line itself cannot be read

With --app (or a command that names the application) the application is imported, started and asked for one page in
this process, once; its telemetry goes to a collector in memory. Each SQLAlchemy engine it has made is asked one
harmless question. Without, only settings, versions, ports and the collector are looked at.

examples:
  firstcause doctor --app shop.main:app
  firstcause doctor uvicorn shop.main:app --workers 4 --host 0.0.0.0
  firstcause doctor --url http://127.0.0.1:8000/health --json
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="firstcause doctor", description="Proves what is attached, and what silently is not.", epilog=_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON (schema 1) instead of the readable report")
    parser.add_argument("--app", default="", metavar="MODULE:NAME", help="the application to drive (as for uvicorn)")
    parser.add_argument("--path", default=PATH, help="the page to ask for (default: one that does not exist)")
    parser.add_argument("--url", default="", metavar="http://…", help="a running service to ask as well")
    parser.add_argument("--strict", action="store_true", help="warnings count: exit with 1")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command that starts the service")
    return parser


_PATCHED = """
from gevent import monkey; monkey.patch_all()
import sys; from firstcause.doctor import main; sys.exit(main(sys.argv[1:]))
"""


def _is_for_gevent(start: StartLine, app: str) -> bool:
    """Whether the service runs under gevent and this process does not: it patches threads before they are used."""
    wanted = start.worker_class.startswith("gevent") or processes.patches(processes.source_of(app)) > 0
    return wanted and "gevent.monkey" not in sys.modules and find_spec("gevent") is not None


def main(argv: list[str]) -> int:
    """Run every check and print the report; returns the exit code that `--help` explains."""
    options = _parser().parse_args(argv)
    environ = dict(os.environ)
    start = parse(options.command, environ)
    app = options.app or start.app
    sys.path.insert(0, os.getcwd())  # as servers do
    # gevent has to patch before the rest is imported, which has happened here.
    if _is_for_gevent(start, app):
        os.execv(sys.executable, [sys.executable, "-c", _PATCHED, *argv])  # noqa: S606 - ourselves, patched first
    context = context_of(start, environ, app, options.path, options.url)
    results = examine(CHECKS, context)
    if options.json:
        print(json.dumps(as_json(results, context), indent=2))
    else:
        colours = sys.stdout.isatty() and not environ.get("NO_COLOR")
        print(as_text(results, context, colours=colours))
    return {ERROR: 2, WARNING: 1 if options.strict else 0, OK: 0}[worst(results)]
