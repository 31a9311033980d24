"""The real programs, and the shop's objectives."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo_app.programs import ProgramMissingError, find

ROOT = Path(__file__).resolve().parent.parent.parent
SLOS = ROOT / "alerts" / "slos.yml"


def program(name: str) -> Path:
    """The program's path, built where it is missing; skips with the ways to have it."""
    try:
        return find(name)
    except ProgramMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def promtool() -> Path:
    return program("promtool")


@pytest.fixture(scope="session")
def amtool() -> Path:
    return program("amtool")


@pytest.fixture(scope="session")
def servers() -> dict[str, Path]:
    return {name: program(name) for name in ("prometheus", "alertmanager", "promtool")}
