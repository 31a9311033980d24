"""What every test gets: hypothesis bounded for slow shared machines, and its part by where it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A property is checked on as many examples everywhere; only the clock of a busy machine is not trusted.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("here"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

HERE = Path(__file__).parent
PARTS = (
    "alerts", "docs", "packaging", "rum", "second_shop", "sdk/chaos", "sdk/clients", "sdk/contrib", "sdk/processes",
    "sdk/servers", "sdk/whole", "sdk/doctor/test_defects.py", "sdk/metrics/test_prometheus.py",
    "sdk/testing/test_plugin.py", "checks/test_gates.py", "compose/test_config.py", "compose/test_inside.py",
    "test_house.py",
)  # fmt: skip
"""Whose tests start a server or a program: the unit part does without them."""
ALONE = ("e2e", "second_shop")
"""Whose tests watch what happens under load: anything beside them would be a neighbour that they name."""
STACK = "test_stack_"
"""Files that share one stack: they wait for stores more than they compute, and nothing of theirs is about time."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups when its turn comes
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, so that no file has to say so and none is forgotten."""
    for item in items:
        place = item.path.relative_to(HERE)
        stack = place.name.startswith(STACK)
        if any(place.is_relative_to(part) for part in PARTS):
            item.add_marker(pytest.mark.parts)
        if not stack and any(place.is_relative_to(part) for part in ALONE):
            item.add_marker(pytest.mark.alone)
        item.add_marker(pytest.mark.xdist_group(STACK if stack else str(place)))
