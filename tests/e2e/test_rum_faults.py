"""Faults that only browsers see, on the real shop: each gets its own answer, from browsers and from the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from demo_app.__main__ import Run, Screen, play
from demo_app.chain import programs
from demo_app.chromium import chromium
from demo_app.faults import BROWSER_FAULTS
from demo_app.judge import Judge
from demo_app.load import Load
from demo_app.programs import ProgramMissingError
from demo_app.sink import Sink
from demo_app.supervisor import Shop
from demo_app.visitors import Visitors, visiting

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SEED = 7


@contextmanager
def visited(*, real: bool) -> Iterator[tuple[Run, Visitors]]:
    """The shop under load, with visitors."""
    sink, judge = Sink(), Judge()
    with Shop(sink.url) as shop, visiting(shop, SEED, real=real) as visitors:
        load = Load(f"http://127.0.0.1:{shop.ports['gateway']}", SEED)
        load.start()
        while not load.began and load.is_alive():
            load.join(0.05)
        yield Run(shop, load, judge, Screen()), visitors
        load.stop()
    judge.close()
    sink.close()


@pytest.fixture(name="browsers", scope="module")
def _browsers() -> Iterator[tuple[Run, Visitors]]:
    if chromium() is None:
        pytest.skip("no browser: apt-get install chromium")
    with visited(real=True) as found:
        yield found


@pytest.mark.parametrize("fault", sorted(BROWSER_FAULTS))
def test_browsers_name_the_cause(
    browsers: tuple[Run, Visitors], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Service and cause with most of the share are what was broken, where every request of the services is fine."""
    run, visitors = browsers
    run.browser_round(1, fault, visitors)
    assert run.rounds[-1].right, capsys.readouterr().out


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
