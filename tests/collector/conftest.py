"""`scripts/e2e` builds the Collector; without it these tests say how to have it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo_app.programs import ProgramMissingError, find

from .running import Sink


@pytest.fixture(autouse=True)
def _program(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("e2e") is None:
        return
    try:
        find("firstcause-collector", build=False)
    except ProgramMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(name="sink")
def _sink() -> Iterator[Sink]:
    """What stands where the next hop is."""
    sink = Sink()
    yield sink
    sink.close()
