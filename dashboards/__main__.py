"""`python -m dashboards` writes `generated/`; `--check` compares; `push`, `diff` and `mark-deploy` talk to a Grafana.

Exit status: 0 when all is well, 1 when something differs or is wrong, 2 when it could not be done.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from . import grafana, lint, provisioning, sketch
from .boards import BOARDS

HERE = Path(__file__).resolve().parent / "generated"
COMMAND = "run `python -m dashboards`"


def render() -> dict[str, str]:
    """Every file of `generated/`: its name and text."""
    return {f"{board.uid}.json": json.dumps(board.model(), indent=1, ensure_ascii=False) + "\n" for board in BOARDS}


def differences(rendered: Mapping[str, str], folder: Path) -> list[str]:
    """What is stale, missing or orphaned in `folder`, one text each."""
    there = {path.name for path in folder.glob("*.json")}
    found = [_differs(name, text, folder / name) for name, text in sorted(rendered.items())]
    orphans = sorted(there - set(rendered))
    return [text for text in found if text] + [f"orphan: {name}: nothing renders it, delete it" for name in orphans]


def _differs(name: str, text: str, path: Path) -> str:
    if not path.exists():
        return f"missing: {name}: {COMMAND}"
    if (there := path.read_text("utf-8")) == text:
        return ""
    lines = difflib.unified_diff(there.splitlines(), text.splitlines(), "committed", "rendered", lineterm="", n=0)
    return "\n".join([f"stale: {name}: {COMMAND}", *islice(lines, 12)])


def check(folder: Path = HERE) -> list[str]:
    """Everything that is wrong with the shipped files, generated or written."""
    return [*differences(render(), folder), *lint.problems(lint.read(folder)), *provisioning.problems()]


def write(folder: Path = HERE) -> None:
    """Write every dashboard, and remove those that are no longer made."""
    folder.mkdir(exist_ok=True)
    rendered = render()
    for name, text in rendered.items():
        (folder / name).write_text(text, "utf-8", newline="\n")
    for path in folder.glob("*.json"):
        if path.name not in rendered:
            path.unlink()


def _write(options: argparse.Namespace) -> int:
    if not options.check:
        write()
        return 0
    found = check()
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


def _sketch(options: argparse.Namespace) -> int:
    print(sketch.svg(lint.read(HERE)[options.uid]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dashboards", description="Dashboards as code.")
    parser.add_argument("--check", action="store_true", help="compare and lint instead of writing")
    parser.set_defaults(command=_write)
    commands = parser.add_subparsers(metavar="command")
    grafana.commands(commands, HERE)
    one = commands.add_parser("sketch", help="print a dashboard's layout as SVG")
    one.add_argument("uid", choices=[board.uid for board in BOARDS])
    one.set_defaults(command=_sketch)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error is one line."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except grafana.NotDoneError as error:
        print(f"dashboards: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
