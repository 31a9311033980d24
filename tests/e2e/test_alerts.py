"""From a fault in the shop to the on-call person and back, through the real Prometheus and Alertmanager."""

from __future__ import annotations

import pytest

from bench.alerts import Plan, play
from demo_app.chain import programs
from demo_app.judge import QUIET
from demo_app.programs import ProgramMissingError

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _programs() -> None:
    """Fetched or built where they are missing; without them this says the ways to have them."""
    try:
        programs()
    except ProgramMissingError as missing:
        pytest.skip(str(missing))


def test_a_fault_is_one_page_that_names_its_cause_and_ends_after_the_repair() -> None:
    """One group, the right cause first, told that it gets better, resolved, and no rule evaluation failed."""
    found = play(Plan("exception", ("exception",), 1))
    assert (True, 1, 1, 0) == (found.wanted, found.pages, found.place, found.failed), found
    assert found.better_s is not None
    assert found.resolved_s is not None


def test_a_quiet_shop_wakes_nobody() -> None:
    """No page while nothing is broken."""
    found = play(Plan(QUIET, (QUIET,), 1))
    assert (False, 0, 0) == (found.wanted, found.pages, found.failed), found
