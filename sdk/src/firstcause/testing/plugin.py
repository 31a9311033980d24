"""The pytest plugin, found through the entry point `pytest11`: one fixture, used only where it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .capture import Capture


@pytest.fixture
def capcause() -> Iterator[Capture]:
    """A `firstcause.testing.Capture` of this test: what its requests did, with counting ids."""
    with Capture() as capture:
        yield capture
