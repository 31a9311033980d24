"""Who may send."""

from __future__ import annotations

import pytest

from firstcause_rum.origin import allowed, answer_headers

LISTED = ("https://www.shop.example",)


@pytest.mark.parametrize(
    ("origin", "site", "may"),
    [
        ("https://shop.example", "same-origin", True), ("https://shop.example", "", True), ("http://shop.example", "", True),
        ("https://SHOP.example", "", False), ("https://shop.example:444", "", False), ("null", "same-origin", True),
        ("null", "", False), ("null", "cross-site", False), ("https://www.shop.example", "same-site", True),
        ("https://www.shop.example", "", True), ("https://evil.example", "cross-site", False),
        ("https://evil.example", "", False), ("https://www.shop.example.evil.example", "cross-site", False),
        ("https://shop.example", "cross-site", False), ("ftp://shop.example", "", False), ("", "", True),
        ("", "cross-site", False), ("", "none", True), ("https://", "", False), ("https://" + "a" * 9000, "", False),
    ],
)  # fmt: skip
def test_own_and_listed_origins_may(origin: str, site: str, may: bool) -> None:
    """The endpoint's own host, and those that are listed; a forged Origin does not pass Sec-Fetch-Site."""
    assert may == allowed({"origin": origin, "sec-fetch-site": site, "host": "shop.example"}, LISTED)


def test_only_a_listed_origin_is_echoed() -> None:
    """Others learn nothing, and every answer differs by origin and is never kept."""
    told = dict(answer_headers({"origin": LISTED[0]}, LISTED))
    assert (LISTED[0], "true") == (told["access-control-allow-origin"], told["access-control-allow-credentials"])
    silent = dict(answer_headers({"origin": "https://evil.example"}, LISTED))
    assert "access-control-allow-origin" not in silent
    assert {("no-store", "Origin")} == {(found["cache-control"], found["vary"]) for found in (told, silent)}
    assert "same-origin" == dict(answer_headers({}, ()))["cross-origin-resource-policy"]
