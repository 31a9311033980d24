"""The wire format: what is refused, what is dropped and counted, and that nothing impossible comes through."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause_rum.body import Refused
from firstcause_rum.wire import AHEAD_MS, ATTRIBUTION, HOUR_MS, ITEMS, LATEST_MS, MOST_ITEMS, Body, read

from .pages import ERROR, EVERYTHING, LCP, LOAD, REQUEST, WORK, beacon, vital


def dropped(body: dict[str, Any]) -> dict[str, int]:
    """What was dropped of a body, by reason."""
    return dict(read(body).dropped)


def test_all_of_it_is_taken() -> None:
    """A beacon with every kind of item and every field loses nothing."""
    full = beacon(
        *EVERYTHING, app="shop", rel="1.2", route="/cart", dev="mobile", net="4g", rtt=50, tz="America/Sao_Paulo", hid=0,
        wd=0, tp=f"00-{'1' * 32}-{'2' * 16}-01", mark=f"1790000000.{'3' * 16}", lost={"noise": 2},
    )  # fmt: skip
    found = read(full)
    assert {"page_noise": 2} == dict(found.dropped)
    assert len(EVERYTHING) == len(found.items)
    assert {"app", "rel", "route", "dev", "net", "rtt", "tz", "hid", "wd", "tp", "mark"} == set(found.fields)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "version"), ({"v": "1"}, "version"), ({"v": True}, "version"), ({"v": None}, "version"),
        ({"ses": "x"}, "field"), ({"ses": "A" * 32}, "field"), ({"id": 7}, "field"), ({"id": None}, "field"),
        ({"seq": -1}, "field"), ({"seq": 10_000}, "field"), ({"seq": 1.5}, "field"), ({"seq": True}, "field"),
        ({"sent": -1}, "field"), ({"sent": LATEST_MS + 1}, "field"), ({"sent": "9"}, "field"), ({"url": "x" * 501}, "field"),
        ({"url": None}, "field"), ({"nav": 1}, "field"), ({"items": []}, "items"), ({"items": {}}, "items"),
        ({"items": [{}] * (MOST_ITEMS + 1)}, "items"), ({"items": None}, "items"),
    ],
)  # fmt: skip
def test_what_the_page_must_say(change: dict[str, Any], reason: str) -> None:
    """Version, ids, offsets, address, navigation and 1 to 100 items: without them nothing can be made of a beacon."""
    with pytest.raises(Refused) as refused:
        read({**beacon(), **change})
    assert (400, reason) == (refused.value.status, refused.value.reason)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("rel", "x" * 65, "invalid"), ("route", {"a": 1}, "invalid"), ("dev", "watch", "invalid"), ("net", "5g", "invalid"),
        ("rtt", 60_001, "impossible"), ("rtt", -1, "impossible"), ("app", "a b", "invalid"), ("tz", ["x"], "invalid"),
        ("tp", "00-1-2-3", "invalid"), ("mark", "x", "invalid"), ("mark", f"1{'0' * 12}.{'3' * 16}", "invalid"),
        ("hid", 2, "impossible"), ("wd", "yes", "invalid"), ("cookies", "all", "unknown"),
    ],
)  # fmt: skip
def test_what_the_page_may_say(name: str, value: Any, reason: str) -> None:
    """A wrong or unknown field is left out and counted; the rest is taken."""
    found = read(beacon(**{name: value}))
    assert (name in found.fields, {reason: 1}, 1) == (False, dict(found.dropped), len(found.items))


IMPOSSIBLE = (-0.1, HOUR_MS + 1, 8.2e11, 4e7, 1e308, -1e308)


@pytest.mark.parametrize("value", IMPOSSIBLE)
@pytest.mark.parametrize("item", [vital("LCP", 1), vital("CLS", 1), REQUEST, WORK])
def test_impossible_values_drop_their_item(item: dict[str, Any], value: float) -> None:
    """Negative, over an hour, or of the size of a date: the item goes, and is counted."""
    name = {"vital": "val", "req": "ms", "work": "blk"}[item["k"]]
    found = read(beacon({**item, name: value}))
    assert [] == found.items
    assert {"impossible": 1, "incomplete": 1} == dict(found.dropped)


@pytest.mark.parametrize("value", IMPOSSIBLE)
def test_impossible_parts_drop_only_themselves(value: float) -> None:
    """A phase or a sub-part that cannot be is left out of its item."""
    found = read(beacon({**LOAD, "dns": value}, {**LCP, "at": {"ttfb": value, "dur": 5}}))
    assert "dns" not in found.items[0]
    assert {"dur": 5} == found.items[1]["at"]
    assert {"impossible": 2} == dict(found.dropped)


@pytest.mark.parametrize("t", [-1, 3000.5 + AHEAD_MS + 0.1, "100", None, True, [1]])
def test_an_item_of_another_time_is_dropped(t: Any) -> None:
    """Before the document, or later than it was sent."""
    assert {"impossible": 1} == dropped(beacon({"k": "view", "t": t}))


def test_scores_have_a_range_of_their_own() -> None:
    """A layout shift of 100 is the most there may be."""
    assert {} == dropped(beacon(vital("CLS", 100)))
    assert {"incomplete": 1} == dropped(beacon(vital("CLS", 100.1)))


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"k": "cookie"}, {"unknown": 1}), ({"k": 7}, {"invalid": 1}), ({}, {"unknown": 1}), ({"k": ["view"]}, {"invalid": 1}),
        ({"k": "vital", "name": "FID", "id": "x", "val": 1}, {"invalid": 1, "incomplete": 1}),
        ({"k": "vital", "name": "LCP", "id": "x"}, {"incomplete": 1}), ({"k": "req", "ms": 1}, {"incomplete": 1}),
        ({**ERROR, "fp": "XYZ"}, {"invalid": 1, "incomplete": 1}), ({**ERROR, "n": 0}, {"impossible": 1}),
        ({**ERROR, "msg": "x" * 501}, {"invalid": 1}), ({**LCP, "at": []}, {"invalid": 1}),
        ({**LCP, "at": {"own": 1, "of": 2}}, {"unknown": 1}), ({**WORK, "scripts": {}}, {"invalid": 1}),
        ({**WORK, "scripts": [{"ms": 1}] * 12}, {"full": 2}), ({**WORK, "scripts": [7, {"own": 5}]}, {"impossible": 1}),
    ],
)  # fmt: skip
def test_what_is_dropped_of_an_item(item: dict[str, Any], reason: dict[str, int]) -> None:
    """Unknown kinds and keys, wrong types, and items without what they are about."""
    found = dropped(beacon(item)) if item else dropped({**beacon(), "items": [{"t": 1, "k": "x"}]})
    assert reason == found


@pytest.mark.parametrize("entry", [None, 1, "x", [], True])
def test_an_item_that_is_no_object_is_dropped(entry: Any) -> None:
    """Whatever stands in the list."""
    assert {"invalid": 1} == dropped({**beacon(), "items": [entry]})


def test_an_unknown_navigation_is_other() -> None:
    """A newer browser's word is no reason to lose the page."""
    assert "other" == read(beacon(nav="teleport")).navigation


def test_what_the_page_lost_is_counted_within_reason() -> None:
    """Known reasons with sensible numbers; the rest is not believed."""
    lost = {"impossible": 3, "full": 1, "broken": -1, "unsent": 1e9, "other": 5}
    assert {"page_impossible": 3, "page_full": 1} == dropped(beacon(lost=lost))


KEYS = sorted({"v", "ses", "id", "k", "t", "x", *(name for fields, _ in ITEMS.values() for name in fields), *ATTRIBUTION["LCP"]})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(sorted(ITEMS)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=8), max_leaves=30,
)  # fmt: skip


def check(found: Body) -> None:
    """Everything that came through may be so."""
    assert 0 <= found.seq <= 9999
    assert 0 <= found.sent <= LATEST_MS
    for item in found.items:
        assert 0 <= item["t"] <= found.sent + AHEAD_MS
        for name in ITEMS[item["k"]][1]:
            assert name in item
        for value in [*item.values(), *item.get("at", {}).values()]:
            assert not isinstance(value, float) or (math.isfinite(value) and value <= LATEST_MS)
            assert not isinstance(value, str) or len(value) <= 3000


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), st.lists(JSON, min_size=1, max_size=6))
def test_nothing_impossible_comes_through(fields: dict[str, Any], items: list[Any]) -> None:
    """Whatever is sent, reading gives possible values or a refusal, and never another error."""
    listed = [{"k": "vital", "t": 1, **item} if isinstance(item, dict) else item for item in items]
    try:
        check(read({**beacon(), **fields, "items": listed}))
    except Refused as refused:
        assert 400 == refused.status


@given(JSON)
def test_any_json_object_is_read_or_refused(value: Any) -> None:
    """Also what comes out of the real parser."""
    try:
        check(read(orjson.loads(orjson.dumps({"v": 1, "items": [value]}, option=orjson.OPT_NON_STR_KEYS))))
    except (Refused, orjson.JSONEncodeError):
        return
