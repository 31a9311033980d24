"""The stack for every test that asks for it: started once, with the shop in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo_app.programs import ProgramMissingError, find

from .stack import PROGRAMS
from .visitors import Running, running


@pytest.fixture(name="running", scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Stack and shop; `scripts/e2e` builds the programs."""
    try:
        for name in PROGRAMS:
            find(name, build=False)
    except ProgramMissingError as missing:
        pytest.skip(str(missing))
    with running(tmp_path_factory.mktemp("stack")) as everything:
        yield everything
