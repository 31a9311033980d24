"""Token buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firstcause_rum.limiter import Limiter

A, B = b"\xcb\x00\x71", b"\xcb\x00\x72"


def test_a_burst_then_the_rate() -> None:
    """So many at once, then one per its share of a second; the answer says how long to wait."""
    limiter = Limiter(2.0, 3, 1000, 1000, 10)
    assert [0, 0, 0, 1] == [limiter.wait(A, 100.0) for _ in range(4)]
    assert (1, 0, 1) == (limiter.wait(A, 100.4), limiter.wait(A, 100.5), limiter.wait(A, 100.5))
    assert 0 == limiter.wait(B, 100.5)


def test_the_time_to_wait_is_long_enough() -> None:
    """Whoever waits as long as told is let in."""
    limiter = Limiter(0.1, 1, 1000, 1000, 10)
    assert (0, 10) == (limiter.wait(A, 5.0), limiter.wait(A, 5.0))
    assert 0 == limiter.wait(A, 15.0)


def test_all_together_have_a_limit_too() -> None:
    """Many networks at once do not get more than the endpoint can take."""
    limiter = Limiter(10, 10, 5, 5, 1000)
    assert 5 == sum(limiter.wait(bytes([n, 0, 0]), 1.0) == 0 for n in range(100))


@given(st.lists(st.tuples(st.binary(min_size=3, max_size=3), st.floats(0, 1e6)), max_size=200))
def test_memory_is_bounded_and_time_may_jump(calls: list[tuple[bytes, float]]) -> None:
    """Ever new networks push out the oldest, and a clock that goes back gives nobody more."""
    limiter = Limiter(1, 2, 50, 100, 16)
    for network, now in calls:
        assert 0 <= limiter.wait(network, now) < 1000
    assert len(limiter) <= 16
