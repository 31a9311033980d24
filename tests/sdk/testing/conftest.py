"""A capture, and the shop's database, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from firstcause.testing import Capture
from tests.sdk.testing.shop import fill


@pytest.fixture(name="capture")
def _capture() -> Iterator[Capture]:
    with Capture() as capture:
        yield capture


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    fill(path)
    return path
