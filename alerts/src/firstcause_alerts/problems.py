"""What is wrong with a file, one line each, and the one exception that carries all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST = 200
"""Problems that are printed; who has more of them has one that they follow from."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that cannot work, where it stands, and what to write instead."""

    file: str
    line: int
    message: str
    fix: str

    def __str__(self) -> str:
        said = f"{self.file}:{self.line}: {self.message}: {self.fix}"
        return re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", said)  # the file may come from a stranger


class SpecError(ValueError):
    """Everything that is wrong with a specification; `problems` are in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(set(problems))
        more = [f"and {len(self.problems) - MOST} more"] if len(self.problems) > MOST else []
        super().__init__("\n".join([*map(str, self.problems[:MOST]), *more]))
