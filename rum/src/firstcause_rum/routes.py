"""Route names: the page's own, else the path without what varies; bounded. Not thread-safe, the caller holds a lock."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

OTHER = "other"
MOST, MOST_UNPROVEN, LONGEST = 100, 50, 128
_SEGMENTS = 8
_VARIES = re.compile(r"\d+|[0-9a-fA-F-]{8,}|[^/]*\d{3,}[^/]*|[^/]{41,}|[^/]*@[^/]*|[^/]*%[^/]*")


def derived(url: str) -> str:
    """`/order/{}/lines` of `https://shop.example/order/4711/lines?page=2`: segments that look like ids are folded."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return OTHER
    parts = path.strip("/").split("/")
    kept = ["{}" if _VARIES.fullmatch(part) else part for part in parts[:_SEGMENTS]]
    return clean("/" + "/".join(kept)) or OTHER


def clean(text: str) -> str:
    """`text` as a label: printable, cut."""
    return (text if text.isprintable() else "".join(c for c in text if c.isprintable()))[:LONGEST]


class Names:
    """A bounded set of names, learnt or given.

    Half of the places are for names that come with proof only, so that nobody can fill them up from outside.
    """

    def __init__(self, given: Collection[str] = (), most: int = MOST, most_unproven: int = MOST_UNPROVEN) -> None:
        self._known = set(given)
        self._fixed = bool(given)
        self._most, self._most_unproven = most, most_unproven
        self._unproven = 0

    def __len__(self) -> int:
        return len(self._known)

    def bounded(self, name: str, *, proven: bool) -> str:
        """The name, or `other`."""
        if name in self._known:
            return name
        if self._fixed or len(self._known) >= self._most or not (proven or self._unproven < self._most_unproven):
            return OTHER
        self._unproven += not proven
        self._known.add(name)
        return name
