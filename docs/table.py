"""A table of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under their heads; what would end a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    # Also within backquotes: GitHub splits a row into cells before it looks at what is in them.
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
