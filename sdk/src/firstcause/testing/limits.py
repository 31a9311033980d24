"""What an assertion allows, as it is written: `<=3`, `<50ms`, `<20%`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

_WRITTEN = re.compile(r"\s*(<=|>=|==|<|>)\s*(\d+(?:\.\d+)?)\s*(us|ms|s|%)?\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, "<": operator.lt, "==": operator.eq, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Limit:
    """One comparison; `unit` is `us`, `ms`, `s`, `%`, or empty for a number of things."""

    text: str
    sign: str
    number: float
    unit: str

    @classmethod
    def parse(cls, text: str, units: tuple[str, ...]) -> Limit:
        """Read `text`, in one of `units`; raises ValueError with an example of what can be read."""
        found = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
        unit = (found[3] or "") if found else ""
        if found is None or unit not in units:
            example = "<=3" if "" in units else "<50ms' or '<20%"
            raise ValueError(f"{text!r} is no limit: write an operator (<=, <, ==, >=, >) first, as in '{example}'")
        return cls(text, found[1], float(found[2]), unit)

    def holds(self, value: float) -> bool:
        """Whether `value`, in the limit's own unit, is within it."""
        return _COMPARE[self.sign](value, self.number)

    def of(self, seconds: float, whole_s: float) -> float:
        """`seconds` in this limit's unit; for `%`, as its share of `whole_s`."""
        if self.unit == "%":
            return 100 * seconds / whole_s if whole_s else 0.0
        return seconds / SECONDS[self.unit]
