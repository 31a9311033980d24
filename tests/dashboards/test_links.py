"""An alert's link to a dashboard is one that the committed dashboards answer to."""

from __future__ import annotations

import re

import pytest
import yaml

from dashboards import lint
from dashboards.__main__ import HERE
from dashboards.known import RULES

SHIPPED = lint.read(HERE)
TEXT = RULES.read_text()
LINKS = sorted(set(re.findall(r"^ +dashboard: (.*)$", TEXT, re.MULTILINE)))


def test_alerts_have_such_links() -> None:
    """There is something to compare."""
    assert LINKS


@pytest.mark.parametrize("link", LINKS)
def test_uid_and_variables_are_committed_ones(link: str) -> None:
    """The address names a dashboard by its uid, and sets only variables that it has."""
    address = yaml.safe_load(link)
    found = re.search(r"/d/([a-z-]+)", address)
    assert found is not None
    offered = {variable["name"] for variable in SHIPPED[found[1]]["templating"]["list"]}
    assert set() == set(re.findall(r"[?&]var-(\w+)=", address)) - offered
