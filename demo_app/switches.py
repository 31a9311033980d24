"""The switches that break the shop, read by the services: one small file, looked at when it changes.

The SDK does not know of it, and nothing here says what a fault should be diagnosed as.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

VARIABLE = "DEMO_SWITCHES"


class Switches:
    """The set of faults that are on."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path or os.environ.get(VARIABLE, "")
        self._seen = -1
        self._on: frozenset[str] = frozenset()

    def on(self, fault: str) -> bool:
        """Whether `fault` is on now."""
        if self._path:
            self._refresh()
        return fault in self._on

    def _refresh(self) -> None:
        try:
            changed = Path(self._path).stat().st_mtime_ns
            if changed != self._seen:
                self._on = frozenset(json.loads(Path(self._path).read_text()))
                self._seen = changed
        except (OSError, ValueError):
            # In a container there is no file before the first fault.
            self._on = frozenset()


def write(path: str, on: set[str]) -> None:
    """Switch exactly `on`; written whole, so that no service reads half a file."""
    draft = Path(path + ".new")
    draft.write_text(json.dumps(sorted(on)))
    draft.replace(path)


SWITCHES = Switches()
