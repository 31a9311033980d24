"""Secrets out of everything that leaves: values of secret keys, and secrets recognisable by their shape.

Pure and linear in the input's length; text beyond `MOST` characters is cut before it is searched.
Redacting twice changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "[redacted]"
MOST = 16_384
DEPTH = 6

_WORDS = (
    "password", "passwd", "passphrase", "pwd", "secret", "token", "authorization", "api[-_]?key", "apikey",
    "access[-_]?key", "private[-_]?key", "cookie", "session", "credential", "signature", "ssn", "cvv", "cvc",
    "card[-_]?number", "card", "iban", "pin", "otp", "auth",
)  # fmt: skip
_KEY = re.compile(r"(?:^|[^a-z])(?:" + "|".join(_WORDS) + r")s?(?:$|[^a-z])", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}-----|\Z)", re.DOTALL),
    re.compile(r"\b(?:bearer|basic|digest|negotiate)\s+[A-Za-z0-9+/=._~-]{4,}", re.IGNORECASE),
    re.compile(r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"),
    re.compile(r"\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{6,}"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{16,}|\bxox[abprs]-[A-Za-z0-9-]{8,}|\bAIza[A-Za-z0-9_-]{20,}"),
    re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"),
)
_USERINFO = re.compile(r"(?<=://)[^/\s@:]{0,128}:[^/\s@]{1,256}(?=@)")
_ASSIGNED = re.compile(
    r"(?P<key>[\"']?[A-Za-z0-9_.-]{0,40}(?:" + "|".join(_WORDS) + r")[A-Za-z0-9_-]{0,20}[\"']?\s{0,4}[=:]\s{0,4})"
    r"(?P<value>\"[^\"]{0,512}\"|'[^']{0,512}'|[^\s,;&\"'\])}]{1,512})",
    re.IGNORECASE,
)
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.])")
_SQL_LITERAL = re.compile(r"'(?:[^'\\]|''|\\.)*'?|\$\$.*?(?:\$\$|\Z)|\b\d+(?:\.\d+)?\b|\b0x[0-9a-f]+\b", re.IGNORECASE | re.DOTALL)
_SQL_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|--[^\n]*", re.DOTALL)
_SPACE = re.compile(r"\s+")

_extra: set[str] = set()


def also_secret(names: tuple[str, ...]) -> None:
    """Treat further key names as secret (`FIRSTCAUSE_REDACT`)."""
    _extra.update(name.lower() for name in names)


def is_secret(key: str) -> bool:
    """Whether the value under `key` must not be shown."""
    lowered = key.lower()
    return lowered in _extra or _KEY.search(_CAMEL.sub("_", key[:256])) is not None


def redact_value(text: str) -> str:
    """`text` with every recognisable secret replaced."""
    text = text[:MOST]
    text = _ASSIGNED.sub(_assigned, text)
    text = _USERINFO.sub(MASK, text)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return _CARD.sub(_card, text)


def _assigned(found: re.Match[str]) -> str:
    return found["key"] + MASK


def _card(found: re.Match[str]) -> str:
    digits = [int(c) for c in found[0] if c.isdigit()]
    doubled = [d if n % 2 == 0 else sum(divmod(2 * d, 10)) for n, d in enumerate(reversed(digits))]
    return MASK if sum(doubled) % 10 == 0 else found[0]


def redact_mapping(fields: Mapping[Any, Any], depth: int = DEPTH) -> dict[str, Any]:
    """A copy of `fields`: values of secret keys masked, strings searched, nesting followed to `depth`."""
    return {_text(key): MASK if is_secret(_text(key)) else redact(value, depth - 1) for key, value in fields.items()}


def redact(value: Any, depth: int = DEPTH) -> Any:
    """Any value as it may leave: plain JSON types, redacted."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return redact_value(value)
    if depth > 0 and isinstance(value, Mapping):
        return redact_mapping(value, depth)
    if depth > 0 and isinstance(value, (list, tuple, set, frozenset)):
        return [redact(item, depth - 1) for item in list(value)[:1000]]
    return redact_value(_text(value))


def _text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else str(value)
    except Exception:
        return "<unprintable>"


def redact_sql(statement: str) -> str:
    """The statement with literals as `?` and comments gone, in one line."""
    text = _SQL_COMMENT.sub(" ", statement[:MOST])
    return _SPACE.sub(" ", _SQL_LITERAL.sub("?", text)).strip()


def redact_url(url: str) -> str:
    """The URL without user info, and with every query value masked."""
    base, question, query = url[:4096].partition("?")
    base = _USERINFO.sub(MASK, base)
    if not question:
        return redact_value(base)
    names = [part.partition("=")[0] for part in query.partition("#")[0].split("&")]
    return redact_value(base) + "?" + "&".join(f"{name}={MASK}" for name in names[:50])
