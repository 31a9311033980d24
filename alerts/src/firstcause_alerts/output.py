"""From a specification to files: rendered whole in memory, compared as sets, written whole or not at all."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files as resources
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from . import alertmanager, cases, lint, objectives, rules
from . import spec as reading
from .model import HEARTBEAT, PAGE, TICKET, Spec, Target
from .problems import SpecError
from .timing import Timing

MADE = "# Made by firstcause-alerts from the SLO file; do not edit, run `firstcause-alerts compile`."
WIDTH = 1_000_000
"""Expressions stay on one line: a diff then shows which rule changed."""


class _Dumper(yaml.SafeDumper):
    # Rules share labels, and anchors that point to another rule are hard to read in a diff.
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def yaml_text(data: Any) -> str:
    """YAML with the keys in their order, the same for the same data."""
    return f"{MADE}\n{yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)}"


def checked(path: Path, timing: Timing, receiver: str = "") -> Spec:
    """The specification in a file, if it can work. Raises `SpecError` with all that it cannot read or make work."""
    spec, found = reading.readable(path.read_text("utf-8", errors="replace"), str(path))
    spec = redirected(spec, receiver) if receiver else spec
    found = [*found, *lint.problems(spec, timing, partial=bool(found))]
    if found:
        raise SpecError(found)
    return spec


def render(spec: Spec, timing: Timing | None = None) -> dict[str, str]:
    """Every file by its relative path. Raises `SpecError` for what cannot work."""
    timing = timing or Timing()
    found = lint.problems(spec, timing)
    if found:
        raise SpecError(found)
    made = {"rules.yml": rules.groups(spec, timing), "alertmanager.yml": alertmanager.config(spec, timing)}
    # Tests count in the minutes of the specification, which a shrunk file does not have.
    if timing.scale == 1:
        made |= cases.files(spec)
    template = resources(__package__).joinpath(alertmanager.TEMPLATE).read_text("utf-8")
    env = {name: f"{MADE}\n{text}" for name, text in objectives.files(spec).items()}
    return {**{name: yaml_text(data) for name, data in made.items()}, alertmanager.TEMPLATE: template, **env}


def compile(  # noqa: A001 - the word for it
    slos: Path | str, to: Path | str, *, time_scale: float = 1.0, scrape_s: float | None = None, receiver: str = ""
) -> dict[str, str]:
    """Compile the file `slos` into the folder `to`, and return what was written.

    `time_scale` shrinks all windows, so that a demo pages within seconds; Prometheus must then scrape every `scrape_s`
    (by default 15 s shrunk alike, but at least 1 s). `receiver` is an address that gets every notification in place of
    the file's own targets, below `/page`, `/ticket` and `/heartbeat`. Raises `SpecError`, and then writes nothing.
    """
    timing = Timing.of(time_scale, scrape_s)
    rendered = render(checked(Path(slos), timing, receiver), timing)
    write(rendered, Path(to))
    return rendered


def redirected(spec: Spec, receiver: str) -> Spec:
    """The same objectives with one webhook per severity instead of the real targets, and never muted."""
    base = receiver.rstrip("/")
    targets = tuple(
        Target(severity, "webhook", {"severity": severity}, {"url": f"{base}/{severity}"})
        for severity in (PAGE, TICKET, HEARTBEAT)
    )
    return replace(spec, targets=targets, slos=tuple(replace(slo, targets=(), maintenance=()) for slo in spec.slos))


def differences(rendered: Mapping[str, str], folder: Path) -> list[str]:
    """What is stale, missing or orphaned in `folder`; empty when it is what would be written."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    found = [f"orphan: {name}: nothing makes it, delete it" for name in sorted(there - set(rendered))]
    found += [f"missing: {name}: run `firstcause-alerts compile`" for name in sorted(set(rendered) - there)]
    for name in sorted(there & set(rendered)):
        # Bytes, so that a changed line ending is seen too.
        if (folder / name).read_bytes() != rendered[name].encode():
            found.append(_stale(name, (folder / name).read_text("utf-8", errors="replace"), rendered[name]))
    return found


def _stale(name: str, there: str, text: str) -> str:
    lines = difflib.unified_diff(there.splitlines(), text.splitlines(), "committed", "rendered", lineterm="", n=0)
    # One change of the compiler touches many rules, and each may be thousands of characters long.
    return "\n".join([f"stale: {name}: run `firstcause-alerts compile`", *(line[:200] for line in islice(lines, 8))])


def write(rendered: Mapping[str, str], folder: Path) -> None:
    """Replace the folder's content by `rendered`, at once: a reader sees the old files or the new ones."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and any(folder.iterdir()) and not _ours(folder):
        raise FileExistsError(f"{folder} holds files that were not made here; choose another folder, or empty it")
    # Beside the folder, since a rename works within one file system only.
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    # mkdtemp keeps it to its owner; Prometheus may run as another user.
    fresh.chmod(0o755)
    try:
        for name, text in rendered.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # The same bytes on every system, as `differences` compares them.
            path.write_text(text, "utf-8", newline="\n")
        _swap(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _ours(folder: Path) -> bool:
    rules_file = folder / "rules.yml"
    return rules_file.exists() and rules_file.read_text("utf-8", errors="replace").startswith(MADE)


def _swap(fresh: Path, folder: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
        return
    # No rename replaces a folder that holds something, so the old one steps aside first.
    old = fresh.with_name(fresh.name + "-old")
    folder.rename(old)
    try:
        os.rename(fresh, folder)  # noqa: PTH104 - must fail rather than merge
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)
