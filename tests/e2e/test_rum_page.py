"""What browsers saw wakes somebody, and is found without a browser too. Each has a shop of its own to itself."""

from __future__ import annotations

import pytest

from demo_app.__main__ import Screen, play
from demo_app.chain import programs
from demo_app.programs import ProgramMissingError

from .browsers import SEED, visited

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_without_a_browser_synthetic_ones_stand_in(capsys: pytest.CaptureFixture[str]) -> None:
    """Their connections and beacons are real: a slow line is found by them too, and it is said what they are."""
    with visited(real=False) as (run, visitors):
        run.browser_round(1, "slow_region", visitors)
        said = capsys.readouterr().out
        assert run.rounds[-1].right, said
    assert "apt-get install chromium" in said


def test_a_page_names_what_browsers_saw(capsys: pytest.CaptureFixture[str]) -> None:
    """Through the real Prometheus and Alertmanager: one page, its cause first, resolved after the repair."""
    try:
        found = programs()
    except ProgramMissingError as missing:
        pytest.skip(str(missing))
    (played,) = play(SEED, ["release_throws"], Screen(), found)
    assert (True, True) == (played.right, played.paged), capsys.readouterr().out
