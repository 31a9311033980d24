"""What the SDK raises, and when.

    ConfigError    from `configure` only: every problem of the settings at once
"""

from __future__ import annotations

from collections.abc import Sequence


class ConfigError(ValueError):
    """Settings that cannot work; `problems` has one line each, naming key, value and fix."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("firstcause cannot be configured:\n  - " + "\n  - ".join(problems))
