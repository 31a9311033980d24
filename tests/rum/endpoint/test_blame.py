"""Where the time of a slow page went."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firstcause.conventions import BLAMES
from firstcause_rum.blame import of_inp, of_lcp, top

QUICK = {"ttfb": 300, "delay": 100, "dur": 200, "rend": 200}
LOADED = {"dns": 20, "tcp": 40, "tls": 40, "req": 150, "res": 30}


@pytest.mark.parametrize(
    ("at", "load", "rtt", "cause"),
    [
        ({**QUICK, "ttfb": 3000}, {**LOADED, "tcp": 700, "tls": 700, "req": 900, "dns": 700}, 0, "network"),
        ({**QUICK, "ttfb": 3000}, {**LOADED, "req": 2800}, 0, "server"),
        ({**QUICK, "ttfb": 3000}, {"req": 2900}, 100, "server"),  # a connection that was there already
        ({**QUICK, "dur": 4000}, LOADED, 0, "transfer"),
        ({**QUICK, "delay": 3000}, {**LOADED, "res": 2900}, 0, "transfer"),
        ({**QUICK, "rend": 4000}, LOADED, 0, "render"),
        ({**QUICK, "rend": 4000, "own": 3500, "third": 100}, LOADED, 0, "own_script"),
        ({**QUICK, "delay": 4000, "third": 3900}, LOADED, 0, "third_party_script"),
        ({"ttfb": 900, "dur": 900, "rend": 900}, {**LOADED, "req": 450}, 0, "unknown"),  # nothing has half
        ({}, LOADED, 0, "unknown"),
    ],
)  # fmt: skip
def test_the_cause_of_a_slow_paint(at: dict[str, Any], load: dict[str, Any], rtt: float, cause: str) -> None:
    """Each fault is named, and without attribution nothing is."""
    value = sum(at.get(name, 0) for name in ("ttfb", "delay", "dur", "rend")) or 4000
    assert cause == top(of_lcp(value, at, load, rtt))


@pytest.mark.parametrize(
    ("at", "cause"),
    [
        ({"in": 10, "proc": 300, "pres": 20, "ms": 290, "own": 1}, "own_script"), ({"ms": 290, "own": 0}, "third_party_script"),
        ({"in": 5, "proc": 10, "pres": 320, "ms": 10, "own": 1}, "render"), ({}, "unknown"), ({"ms": 9e5}, "own_script"),
    ],
)  # fmt: skip
def test_the_cause_of_a_slow_interaction(at: dict[str, Any], cause: str) -> None:
    """Its longest script, else what the browser did with the rest."""
    assert cause == top(of_inp(330, at))


MS = st.floats(0, 3_600_000)


@example(0.5, {"ttfb": 5e-324}, {}, 0.0)
@given(
    st.floats(0.1, 3_600_000),
    st.dictionaries(st.sampled_from(["ttfb", "delay", "dur", "rend", "own", "third", "ms"]), MS),
    st.dictionaries(st.sampled_from(["dns", "tcp", "tls", "req", "res"]), MS), MS,
)  # fmt: skip
def test_parts_sum_to_the_whole(value: float, at: dict[str, float], load: dict[str, float], rtt: float) -> None:
    """Whatever a page says of itself, parts are never negative and add up to what was felt."""
    for parts in (of_lcp(value, at, load, rtt), of_inp(value, at)):
        assert set(parts) <= set(BLAMES)
        assert all(part >= 0 for part in parts.values())
        assert value == pytest.approx(sum(parts.values()))
