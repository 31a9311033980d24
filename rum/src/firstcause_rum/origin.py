"""Who may send: pages of the endpoint's own host, and of the origins that are listed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Headers = tuple[tuple[str, str], ...]
_BASE: Headers = (("cache-control", "no-store"), ("vary", "Origin"))
_LONGEST = 300


def allowed(headers: Mapping[str, str], origins: Collection[str]) -> bool:
    """Whether the browser says that the page is of our own host, or of a listed origin.

    `Sec-Fetch-Site` cannot be set by a page; with it, a page that hides its origin (`null`, by its referrer policy)
    is still told to be ours. Without either header it is no browser, which could say what it likes.
    """
    origin, site = headers.get("origin", ""), headers.get("sec-fetch-site", "")
    if site == "same-origin":
        return True
    if origin:
        return origin in origins or (site == "" and _same_host(origin, headers.get("host", "")))
    return site in ("", "none")


def _same_host(origin: str, host: str) -> bool:
    scheme, _, rest = origin.partition("://")
    return len(origin) <= _LONGEST and scheme in ("http", "https") and rest != "" and rest == host.lower()


def answer_headers(headers: Mapping[str, str], origins: Collection[str]) -> Headers:
    """What every answer carries; a listed origin is echoed, with credentials since `sendBeacon` always has them."""
    origin = headers.get("origin", "")
    if origin not in origins:
        return (*_BASE, ("cross-origin-resource-policy", "cross-origin" if origins else "same-origin"))
    return (
        *_BASE, ("cross-origin-resource-policy", "cross-origin"),
        ("access-control-allow-origin", origin), ("access-control-allow-credentials", "true"),
    )  # fmt: skip


def preflight_headers() -> Headers:
    """For pages that send JSON under its own type."""
    return (
        ("access-control-allow-methods", "POST"), ("access-control-allow-headers", "content-type"),
        ("access-control-max-age", "86400"),
    )  # fmt: skip
