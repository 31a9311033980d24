"""`python -m docs` writes the generated pages; `python -m docs --check` fails when they differ.

The pages are a pure function of the SDK's source: its conventions, its settings, its docstrings. The check compares
sets: a stale page, a missing one and one that nothing renders each fail.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sdk" / "src"))  # the SDK of this checkout, whichever is installed

from firstcause.conventions import CAUSES, INSTRUMENTS, KINDS, Instrument, prometheus_name  # noqa: E402

from . import api, settings  # noqa: E402
from .table import table  # noqa: E402

MADE = "<!-- made by `python -m docs`"
COMMAND = "run `python -m docs`"


def render() -> dict[str, str]:
    """Every generated page: path relative to this folder, and its text."""
    return {
        "api.md": _marked("the docstrings of sdk/src/firstcause", api.page()),
        "configuration.md": _marked("sdk/src/firstcause/_config.py", settings.page()),
        "telemetry.md": _marked("sdk/src/firstcause/conventions.py", _telemetry()),
    }


def _marked(source: str, text: str) -> str:
    return f"{MADE} from {source}; do not edit -->\n\n{text}\n"


def _telemetry() -> str:
    return "\n\n".join(["# Telemetry", _INTRO, *_instruments(), *_causes(), *_kinds()])


_INTRO = (
    "Every series and event also carries `service.name`, `service.version`, `service.instance.id` and\n"
    "`deployment.environment.name`. An attribute takes at most the number of values in brackets; the rest\n"
    "is folded into `other` and counted under `firstcause.self.overflow`."
)


def _instruments() -> list[str]:
    rows = [_instrument(instrument) for instrument in INSTRUMENTS]
    heads = ("name", "in Prometheus", "kind", "unit", "attributes", "meaning")
    return ["## Instruments", table(heads, rows), "## Bucket edges", _EDGES, table(("edges", "of"), _edges())]


_EDGES = (
    "In seconds; of scores, the score. Objectives in use are added to those of `http.server.request.duration` and\n"
    "`firstcause.message.duration`; all others are fixed."
)


def _edges() -> list[tuple[str, str]]:
    found: dict[tuple[float, ...], list[str]] = {}
    for instrument in INSTRUMENTS:
        if instrument.buckets:
            found.setdefault(instrument.buckets, []).append(f"`{instrument.name}`")
    return [(", ".join(map(str, edges)), ", ".join(names)) for edges, names in found.items()]


def _instrument(instrument: Instrument) -> tuple[str, ...]:
    attributes = ", ".join(f"`{name}` ({most})" for name, most in instrument.attributes.items())
    return (
        f"`{instrument.name}`", f"`{prometheus_name(instrument)}`", instrument.kind, f"`{instrument.unit}`",
        attributes or "–", instrument.description,
    )  # fmt: skip


def _causes() -> list[str]:
    return ["## Causes", table(("id", "what it says"), [(f"`{cause}`", says) for cause, says in CAUSES.items()])]


def _kinds() -> list[str]:
    rows = [(f"`{kind}`", f"`{slow}`", f"`{failed}`") for kind, (slow, failed) in KINDS.items()]
    return ["## Resource kinds and their plain ids", table(("kind", "when slow", "when failed"), rows)]


def differences(rendered: Mapping[str, str], folder: Path) -> list[str]:
    """What is stale, missing or orphaned in `folder`, one text each; empty when all is well."""
    found = [_differs(name, text, folder / name) for name, text in sorted(rendered.items())]
    orphans = sorted(set(_generated(folder)) - set(rendered))
    return [text for text in found if text] + [f"orphan: {name}: nothing renders it, delete it" for name in orphans]


def _generated(folder: Path) -> list[str]:
    pages = folder.rglob("*.md")
    # By their mark: what is written by hand lies in the same folder, and nothing renders it.
    return [page.relative_to(folder).as_posix() for page in pages if page.read_text("utf-8").startswith(MADE)]


def _differs(name: str, text: str, path: Path) -> str:
    if not path.exists():
        return f"missing: {name}: {COMMAND}"
    there = path.read_text("utf-8")
    if there == text:
        return ""
    lines = difflib.unified_diff(there.splitlines(), text.splitlines(), "committed", "rendered", lineterm="", n=0)
    return "\n".join([f"stale: {name}: {COMMAND}", *islice(lines, 12)])


def main(arguments: Sequence[str]) -> int:
    """Write, or with `--check` compare; 0 when all is well."""
    if "--check" in arguments:
        problems = differences(render(), HERE)
        for problem in problems:
            print(problem, file=sys.stderr)
        return 1 if problems else 0
    for name, text in render().items():
        # The same bytes on every system: Windows would write other ends of lines.
        (HERE / name).write_text(text, "utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
