"""From bytes to one JSON object, within limits."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause_rum.body import DEPTH, MOST, MOST_UNPACKED, Refused, check_head, parse, unpack

GOOD = {"content-type": "text/plain;charset=UTF-8", "content-length": "10"}


def status(call: object, *arguments: object) -> tuple[int, str]:
    """Status and reason of a refusal."""
    with pytest.raises(Refused) as refused:
        call(*arguments)  # type: ignore[operator]
    return refused.value.status, refused.value.reason


@pytest.mark.parametrize("kind", ["text/plain", "text/plain;charset=utf-8", "TEXT/PLAIN; charset=UTF-8", "application/json"])
@pytest.mark.parametrize("packing", ["", "identity", "gzip", " GZIP "])
def test_both_types_and_gzip_are_taken(kind: str, packing: str) -> None:
    """JSON as text, which needs no preflight, or under its own type; plain or by gzip."""
    check_head({"content-type": kind, "content-encoding": packing})


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"content-length": str(MOST + 1)}, (413, "size")), ({"content-length": "-1"}, (400, "length")),
        ({"content-length": "1e3"}, (400, "length")), ({"content-length": "10,10"}, (400, "length")),
        ({"content-length": "9" * 400}, (400, "length")), ({"content-length": "١٢"}, (400, "length")),
        ({"content-type": ""}, (400, "type")), ({"content-type": "text/html"}, (400, "type")),
        ({"content-type": "application/x-www-form-urlencoded"}, (400, "type")),
        ({"content-type": "multipart/form-data; boundary=x"}, (400, "type")),
        ({"content-type": "text/plain; charset=utf-16"}, (400, "type")),
        ({"content-encoding": "br"}, (400, "encoding")), ({"content-encoding": "gzip, gzip"}, (400, "encoding")),
        ({"content-encoding": "deflate"}, (400, "encoding")), ({"content-encoding": "x" * 9000}, (400, "encoding")),
    ],
)  # fmt: skip
def test_a_head_is_refused_before_its_body(change: dict[str, str], answer: tuple[int, str]) -> None:
    """What is too long, of another type or packed in another way is not read."""
    assert answer == status(check_head, {**GOOD, **change})


def test_the_limits_are_inclusive() -> None:
    """A body of exactly the limit passes, plain and unpacked; one byte more does not."""
    assert MOST == len(unpack(b"x" * MOST, ""))
    assert (413, "size") == status(unpack, b"x" * (MOST + 1), "")
    assert MOST_UNPACKED == len(unpack(gzip.compress(b"x" * MOST_UNPACKED), "gzip"))
    assert (413, "size") == status(unpack, gzip.compress(b"x" * (MOST_UNPACKED + 1)), "gzip")


def test_a_bomb_is_not_unpacked() -> None:
    """A hundred megabytes of zeros in a hundred kilobytes, or what fits of it, are refused at the limit."""
    bomb = gzip.compress(bytes(60_000_000))
    assert len(bomb) < MOST
    assert (413, "size") == status(unpack, bomb, "gzip")


@pytest.mark.parametrize("raw", [b"", b"plain", gzip.compress(b"{}", mtime=0)[:-4], gzip.compress(b"{}", mtime=0) + b"x", gzip.compress(b"{}", mtime=0) * 2])
def test_a_broken_package_is_refused(raw: bytes) -> None:
    """Cut, continued or never packed."""
    assert (400, "encoding") == status(unpack, raw, "gzip")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "json"), (b"{", "json"), (b"\xff\xfe{}", "json"), (b'{"a":NaN}', "json"), (b'{"a":Infinity}', "json"),
        (b'{"a":"\\ud800"}', "json"), (b"[" * 60_000, "json"), (b"[]", "shape"), (b"1", "shape"), (b"null", "shape"),
        (b'"v=1"', "shape"), (b'{"a":' * DEPTH + b"{}" + b"}" * DEPTH, "depth"),
        (b'{"a":' + b"[" * DEPTH + b"]" * DEPTH + b"}", "depth"),
    ],
)  # fmt: skip
def test_what_is_no_flat_object_is_refused(text: bytes, reason: str) -> None:
    """Not JSON, not an object, or nested too deep."""
    assert (400, reason) == status(parse, text)


def test_the_deepest_that_is_taken() -> None:
    """Six levels, the object itself among them."""
    text = b'{"a":' * (DEPTH - 1) + b"{}" + b"}" * (DEPTH - 1)
    assert json.loads(text) == parse(text)


@given(st.binary(max_size=300), st.sampled_from(["", "gzip"]))
def test_any_bytes_give_an_object_or_a_refusal(raw: bytes, packing: str) -> None:
    """Nothing else is ever raised."""
    try:
        assert isinstance(parse(unpack(raw, packing)), dict)
    except Refused as refused:
        assert refused.status in (400, 413)
