"""Page views: many reports, each counted once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from firstcause_rum.views import MOST_ERRORS, MOST_VITALS, Labels, View, Views

LABELS = Labels("/", "mobile", "europe", "navigate", "1")


def view() -> View:
    """An empty one."""
    return View(LABELS, 0, {})


def report(found: View, value: float, now: float, id_: str = "v1", settle_s: float = 10) -> str:
    """One report of an LCP."""
    return found.report({"name": "LCP", "id": id_, "val": value}, now + settle_s)


def test_the_last_value_wins_and_counts_once() -> None:
    """A newer report replaces the one before and waits anew; afterwards nothing is counted again."""
    found = view()
    assert ("", "") == (report(found, 1000, 1.0), report(found, 1500, 9.0))
    assert [] == list(found.settled(11.0))
    assert [1500] == [pending.value for pending in found.settled(19.0)]
    assert ([], 0.0, "late") == (list(found.settled(99.0)), found.due, report(found, 2000, 99.0))


def test_different_metrics_wait_for_themselves() -> None:
    """What is due first is looked at first."""
    found = view()
    report(found, 1, 0.0, "a", 300)
    report(found, 2, 0.0, "b", 10)
    assert 10.0 == found.due
    assert ([2], 300.0) == ([one.value for one in found.settled(10.0)], found.due)


def test_a_slow_value_is_blamed_before_it_is_final() -> None:
    """Once, as it is by then; at the latest when it counts."""
    found = view()
    slow = {"name": "INP", "id": "v1", "val": 300}
    assert "" == found.report(slow, 300.0, 10.0)
    assert ([], 10.0) == (list(found.to_blame(9.0)), found.due)
    assert ["", ""] == [found.report({**slow, "val": value}, 300.0 + value / 100, 12.0) for value in (400, 500)]
    assert ([500], []) == ([one.value for one in found.to_blame(12.0)], list(found.settled(12.0)))
    assert 305.0 == found.due
    assert "" == found.report({**slow, "val": 900}, 310.0, 20.0)
    assert ([], [900]) == (list(found.to_blame(310.0)), [one.value for one in found.settled(310.0)])


def test_a_view_holds_a_bounded_number() -> None:
    """Of vitals and of errors."""
    found = view()
    assert MOST_VITALS == [report(found, 1, 0.0, f"v{n}") for n in range(100)].count("")
    assert MOST_ERRORS == sum(found.new_error(f"{n:08x}") for n in range(1000))
    assert not found.new_error("00000000")


def test_views_are_bounded_and_the_oldest_goes() -> None:
    """It is handed back, so that what it held is counted."""
    views = Views(2)
    one, two, three = view(), view(), view()
    assert (None, None) == (views.add("1", one), views.add("2", two))
    assert views.get("1") is one
    assert views.add("3", three) is two
    assert (2, None) == (len(views), views.get("2"))


def test_a_mark_is_used_by_one_view() -> None:
    """A second view with the same mark had its page from a cache; the first may come again."""
    views = Views(2)
    assert [True, True, False] == [views.first_use("m", id_) for id_ in ("1", "1", "2")]
    assert all(views.first_use(f"m{n}", "9") for n in range(10))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e6), st.floats(0, 50), st.booleans()), max_size=60))
def test_however_reports_come_each_id_counts_at_most_once(calls: list[tuple[str, float, float, bool]]) -> None:
    """In any order, with clocks that jump."""
    found, counted = view(), list[Any]()
    for id_, value, now, settle in calls:
        report(found, value, now, id_)
        if settle:
            counted += list(found.settled(now))
    counted += list(found.settled(float("inf")))
    assert len({id_ for id_, *_ in calls}) == len(counted)
