"""Faults that only browsers see, on the real shop: each gets its own answer from real browsers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo_app.__main__ import Run
from demo_app.chromium import chromium
from demo_app.faults import BROWSER_FAULTS
from demo_app.visitors import Visitors

from .browsers import visited

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


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
