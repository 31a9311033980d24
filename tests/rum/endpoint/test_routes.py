"""Route names, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause_rum.routes import LONGEST, MOST, MOST_UNPROVEN, OTHER, Names, clean, derived


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("https://shop.example", "/"), ("https://shop.example/", "/"), ("https://shop.example/cart?x=1#y", "/cart"),
        ("https://shop.example/order/4711/lines", "/order/{}/lines"), ("/p/550e8400-e29b-41d4-a716-446655440000", "/p/{}"),
        ("https://shop.example/u/ann@example.com", "/u/{}"), ("https://shop.example/p/shoe-40123", "/p/{}"),
        ("https://shop.example/" + "a/" * 30, "/a/a/a/a/a/a/a/a"), ("https://[broken", OTHER), ("/tea%20pot", "/{}"),
    ],
)  # fmt: skip
def test_what_varies_is_folded(url: str, route: str) -> None:
    """Numbers, hashes, addresses and long words are no part of a route."""
    assert route == derived(url)


@given(st.text(max_size=600))
def test_any_address_gives_a_label(url: str) -> None:
    """Printable, short, never empty."""
    found = derived(url)
    assert found
    assert len(found) <= LONGEST
    assert clean(found) == found


def test_names_are_bounded_and_strangers_get_half() -> None:
    """A thousand made-up routes leave room for those that come with proof."""
    names = Names()
    strangers = {names.bounded(f"/{n}", proven=False) for n in range(1000)}
    assert MOST_UNPROVEN + 1 == len(strangers)
    proven = {names.bounded(f"/proven/{n}", proven=True) for n in range(1000)}
    assert MOST - MOST_UNPROVEN + 1 == len(proven)
    assert (OTHER, "/1") == (names.bounded("/new", proven=True), names.bounded("/1", proven=False))


def test_given_names_are_the_only_ones() -> None:
    """Nothing is learnt beside what the settings list."""
    names = Names(("/", "/cart"))
    assert ["/cart", OTHER] == [names.bounded(name, proven=True) for name in ("/cart", "/other")]
