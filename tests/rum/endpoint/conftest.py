"""Every test here sees what the endpoint would have sent, and is told of errors that it would have swallowed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from firstcause.testing import Capture


@pytest.fixture
def seen() -> Iterator[Capture]:
    """What the SDK would send; without a mesh key, so that only loopback peers are joined."""
    with Capture() as capture:
        yield capture
