"""The few protobuf encodings OTLP needs, in plain Python: varints, attribute pairs, `AnyValue`.

Most attributes repeat (`http.request.method=GET`), so whole encoded pairs are remembered. Caches are
plain dicts with a cap, emptied when full: cheaper than an LRU, and what repeats is back at once.
Both exporter threads share them; single dict operations are atomic, and a lost entry is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import TypeVar

_Key = TypeVar("_Key")

MAX_CACHED = 4096
"""Entries per cache."""
MAX_CACHED_CHARS = 128
"""Longer strings (statements, stack traces) are encoded each time: they seldom repeat and cost memory."""
MAX_DEPTH = 24
"""Nesting kept of a log body; protobuf decoders refuse more than 100 messages, and a level costs three."""

_TOO_DEEP = "<nested too deep>"
_INT64 = range(-(1 << 63), 1 << 63)
_UINT64_MASK = (1 << 64) - 1
_SMALL_INTS = range(100_000)
_double = Struct("<d").pack

_keys: dict[str, bytes] = {}
_text_pairs: dict[tuple[str, str], bytes] = {}
_int_pairs: dict[tuple[str, int], bytes] = {}
_float_heads: dict[str, bytes] = {}


def _make_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL = tuple(map(_make_varint, range(1024)))


def varint(number: int) -> bytes:
    """Base-128 encoding of a number ≥ 0."""
    return _SMALL[number] if number < 1024 else _make_varint(number)


def utf8(text: str) -> bytes:
    """UTF-8; what cannot be encoded (lone surrogates) becomes `?`."""
    return text.encode("utf-8", "replace")


def sized(payload: bytes) -> bytes:
    """`payload` behind its length, as every string, bytes and message field wants it."""
    size = len(payload)
    return (_SMALL[size] if size < 1024 else _make_varint(size)) + payload


def text_field(tag: bytes, text: str) -> bytes:
    """A string field, or nothing when empty (proto3 does not tell the two apart)."""
    return tag + sized(utf8(text)) if text else b""


def counter_field(tag: bytes, number: int) -> bytes:
    """A `uint32` field, held at its largest value; nothing when 0."""
    return tag + varint(min(number, 0xFFFFFFFF)) if number > 0 else b""


def any_value(value: object, depth: int = 0) -> bytes:
    """The `AnyValue` message of any value; None is the empty message.

    Integers beyond 64 bits and objects of unknown type become strings: losing a type is better than
    losing the record.
    """
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, str):
        return b"\x0a" + sized(utf8(value))
    if isinstance(value, int):
        return _int_value(value)
    if isinstance(value, float):
        return b"\x21" + _double(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b"\x3a" + sized(bytes(value))
    return _nested_value(value, depth)


def _int_value(value: int) -> bytes:
    if value in _INT64:
        # Protobuf's int64: negative numbers are their 64-bit two's complement, always ten bytes.
        return b"\x18" + varint(value & _UINT64_MASK)
    try:
        text = str(value)
    except ValueError:  # beyond the interpreter's limit of digits
        text = hex(value)
    return b"\x0a" + sized(utf8(text))


def _nested_value(value: object, depth: int) -> bytes:
    if depth >= MAX_DEPTH:
        return any_value(_TOO_DEEP)
    if isinstance(value, Mapping):
        pairs = [
            b"\x0a" + sized(key_value(str(key), any_value(item, depth + 1))) for key, item in value.items()
        ]
        return b"\x32" + sized(b"".join(pairs))
    if isinstance(value, (Sequence, set, frozenset)):
        return b"\x2a" + sized(b"".join([b"\x0a" + sized(any_value(item, depth + 1)) for item in value]))
    return any_value(str(value))


def key_value(key: str, value: bytes) -> bytes:
    """A `KeyValue` message around an encoded `AnyValue`."""
    head = _keys.get(key)
    if head is None:
        head = b"\x0a" + sized(utf8(key)) + b"\x12" if key else b"\x12"
        _remember(_keys, key, head, len(key))
    return head + sized(value)


def pair(key: str, value: object) -> bytes:
    """A `KeyValue` behind its length."""
    # Exact classes only: True and 1 are equal as dict keys, and enums are strings with another text.
    if value.__class__ is str:
        return _text_pair(key, value)
    if value.__class__ is int:
        return _int_pair(key, value)
    if value.__class__ is float:
        return (_float_heads.get(key) or float_head(key)) + _double(value)
    return sized(key_value(key, any_value(value)))


def _text_pair(key: str, value: str) -> bytes:
    encoded = _text_pairs.get((key, value))
    if encoded is None:
        encoded = sized(key_value(key, b"\x0a" + sized(utf8(value))))
        if not key.endswith("id"):  # an id is not seen again
            _remember(_text_pairs, (key, value), encoded, len(key) + len(value))
    return encoded


def _int_pair(key: str, value: int) -> bytes:
    encoded = _int_pairs.get((key, value))
    if encoded is None:
        encoded = sized(key_value(key, _int_value(value)))
        if value in _SMALL_INTS:
            _remember(_int_pairs, (key, value), encoded, len(key))
    return encoded


def float_head(key: str) -> bytes:
    """All of a pair but the number: every double is eight bytes, so the lengths never change."""
    head = sized(key_value(key, b"\x21" + bytes(8)))[:-8]
    _remember(_float_heads, key, head, len(key))
    return head


def pairs(tag: bytes, items: Iterable[tuple[str, object]]) -> bytes:
    """Repeated `KeyValue` fields, each behind `tag`."""
    # Joining behind an empty first element puts the tag before every pair without one more append each.
    encoded = [b""]
    for key, value in items:
        if value.__class__ is float and (head := _float_heads.get(key)) is not None:
            encoded.append(head + _double(value))
            continue
        known = _text_pairs.get((key, value)) if value.__class__ is str else None
        encoded.append(pair(key, value) if known is None else known)
    return tag.join(encoded)


def _remember(cache: dict[_Key, bytes], key: _Key, encoded: bytes, chars: int) -> None:
    if chars > MAX_CACHED_CHARS:
        return
    if len(cache) >= MAX_CACHED:
        cache.clear()
    cache[key] = encoded
