"""Selectors are read as Prometheus reads them, and refused where it would refuse the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause_alerts.selector import Matcher, Selector, parse

LABELS = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True)
MATCHERS = st.lists(st.builds(Matcher, LABELS, st.sampled_from(["=", "!="]), st.text(max_size=30)), max_size=4)


@given(MATCHERS)
def test_what_is_written_is_read_back(matchers: list[Matcher]) -> None:
    """Quotes, backslashes, braces and line breaks in values included."""
    selector = Selector("up", tuple(matchers))
    assert selector == parse(str(selector))


@pytest.mark.parametrize(
    "pattern", ["(?!5).*", "(?<=a)b", "(a)\\\\1", "a*+", "a{1001}", "a{2,2000}", "5.\\\\Z", "(?>a)"]
)
def test_expressions_that_only_python_knows_are_refused(pattern: str) -> None:
    """Prometheus would refuse the whole file when it loads it."""
    with pytest.raises(ValueError, match=r"Prometheus|repeats"):
        parse(f'up{{a=~"{pattern}"}}')


@pytest.mark.parametrize("pattern", ["5..|429", "[*+]+", "a{1000}", "(?:a|b)", "(?i)get", "\\\\+1", "\\\\d{2}"])
def test_expressions_that_both_know_are_read(pattern: str) -> None:
    """Groups, classes, escapes and flags."""
    assert 1 == len(parse(f'up{{a=~"{pattern}"}}').matchers)
