"""From bytes to one JSON object, within limits: 64 KiB as sent, 256 KiB unpacked, six levels. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import orjson

MOST, MOST_UNPACKED, DEPTH = 65_536, 262_144, 6
"""Bytes as sent, bytes unpacked, levels of nesting."""
BAD, LARGE = 400, 413
_TYPES = ("text/plain", "application/json")
_CHARSETS = ("", "charset=utf-8", 'charset="utf-8"')
_LENGTH = 12


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """A beacon that is not taken: the status of the answer, and the reason that is counted but never sent."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def check_head(headers: Mapping[str, str]) -> None:
    """Refuse what can be refused before the body is read: its length, type or packing."""
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) <= _LENGTH):
        raise Refused(BAD, "length")
    if int(length) > MOST:
        raise Refused(LARGE, "size")
    kind, _, charset = headers.get("content-type", "").lower().partition(";")
    if kind.strip() not in _TYPES or charset.strip() not in _CHARSETS:
        raise Refused(BAD, "type")
    if headers.get("content-encoding", "").strip().lower() not in ("", "identity", "gzip"):
        raise Refused(BAD, "encoding")


def unpack(raw: bytes, encoding: str) -> bytes:
    """The body as it was before packing; a bomb costs no more than the limit."""
    if len(raw) > MOST:
        raise Refused(LARGE, "size")
    if encoding.strip().lower() != "gzip":
        return raw
    inflate = zlib.decompressobj(31)  # 31: the gzip container
    try:
        text = inflate.decompress(raw, MOST_UNPACKED + 1)
    except zlib.error:
        raise Refused(BAD, "encoding") from None
    if len(text) > MOST_UNPACKED:
        raise Refused(LARGE, "size")
    if not inflate.eof or inflate.unused_data:
        raise Refused(BAD, "encoding")
    return text


def parse(text: bytes) -> dict[str, Any]:
    """The JSON object; numbers are finite, since JSON has no others."""
    try:
        found = orjson.loads(text)
    except ValueError:
        raise Refused(BAD, "json") from None
    if type(found) is not dict:
        raise Refused(BAD, "shape")
    if _deeper(found):
        raise Refused(BAD, "depth")
    return found


def _deeper(found: dict[str, Any]) -> bool:
    """Whether containers are nested in more than `DEPTH` levels; looked at level by level."""
    level: list[Any] = [found]
    for _ in range(DEPTH):
        inner = [value for one in level for value in (one.values() if type(one) is dict else one)]
        level = [value for value in inner if type(value) is dict or type(value) is list]
        if not level:
            return False
    return True
