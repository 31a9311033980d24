"""Every test here starts with fresh self-metrics."""

from __future__ import annotations

import pytest

from firstcause import _guard


@pytest.fixture(autouse=True)
def fresh_counts() -> None:
    """Forget what earlier tests dropped."""
    _guard.reset_self_counts()
