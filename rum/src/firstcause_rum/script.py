"""The built beacon, as the endpoint serves it."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PLACES = (HERE / "beacon" / "fc.js", HERE.parents[1] / "beacon" / "generated" / "fc.js")
"""Where it is: in the installed package, in a checkout."""


class Script(NamedTuple):
    """The file, and the headers it is answered with."""

    text: bytes
    headers: tuple[tuple[str, str], ...]

    def answer(self, known: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body for a browser whose `If-None-Match` is `known`, empty when it has none."""
        etag = dict(self.headers)["etag"]
        # A proxy that packs marks tags as weak, which makes no difference here (RFC 9110, 13.1.2).
        if known.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]:
            return 304, [pair for pair in self.headers if not pair[0].startswith("content-")], b""
        return 200, list(self.headers), self.text


@lru_cache(maxsize=8)
def load(path: str = "") -> Script | None:
    """The script at `path`, or the one that came along; None when there is none. Read once."""
    file = next((place for place in ((Path(path),) if path else PLACES) if place.is_file()), None)
    if file is None:
        return None
    text = file.read_bytes()
    return Script(
        text,
        (
            ("content-type", "text/javascript; charset=utf-8"), ("content-length", str(len(text))),
            ("cache-control", "public, max-age=3600"), ("etag", f'"{sha256(text).hexdigest()[:16]}"'),
            # For pages of other origins: without CORS `integrity` refuses it, and its errors say only "Script error.".
            ("cross-origin-resource-policy", "cross-origin"), ("access-control-allow-origin", "*"),
            ("x-content-type-options", "nosniff"),
        ),
    )  # fmt: skip
