"""One browser for all tests of the folder, a site and a tab for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rum.beacon.browser import Browser, Tab, chromium
from tests.rum.beacon.site import Site


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip("no browser: apt-get install chromium")
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    with browser.tab() as tab:
        yield tab
