"""Secrets out of everything that leaves: values of secret keys, and secrets recognisable by their shape.

Pure and linear in the input's length; text beyond `MOST` characters is cut before it is searched.
Redacting twice changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MASK = "[redacted]"
MOST = 16_384
DEPTH = 6

_WORDS = frozenset((
    "pwd", "pw", "token", "tokens", "apikey", "cookie", "cookies", "session", "sessions", "sessionid", "sid",
    "signature", "ssn", "cvv", "cvc", "card", "cardnumber", "iban", "pin", "otp", "auth", "jwt", "bearer",
))  # fmt: skip
_INSIDE = (
    "password", "passwd", "passphrase", "secret", "apikey", "accesskey", "privatekey", "authorization",
    "credential", "accesstoken", "refreshtoken", "authtoken", "setcookie", "cardnumber", "sessionid",
)  # fmt: skip
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NOT_WORD = re.compile(r"[^a-z0-9]+")

# Linear: each pattern either starts only where a run of its own characters starts, and takes the run
# possessively, or is bounded. Otherwise 16 KiB of hostile text would cost seconds.
_PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,40}-----|\Z)"),
    re.compile(r"(?i)(?<![a-z0-9])(?:bearer|basic|digest|negotiate)\s++[a-z0-9+/=._~-]{4,}+"),
    re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{4,}+(?:\.[A-Za-z0-9_-]++){1,4}+"),
    re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}+"),
    re.compile(r"(?<![A-Za-z0-9_-])[spr]k[_-](?:live|test|proj|ant)[_-][A-Za-z0-9_-]{6,}+"),
    re.compile(
        r"(?<![A-Za-z0-9_-])(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|npm_|pypi-|shpat_|whsec_|AIza)"
        r"[A-Za-z0-9_-]{8,}+"
    ),
    re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){1,8}"),
)
_USERINFO = re.compile(r"(?<=://)[^\s/?#\"'<>]{1,512}(?=@)")
_KEY = re.compile(r"(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]++)[\"']?\s{0,4}+[=:]\s{0,4}+")
_VALUE = re.compile(r"\"(?:[^\"\\]|\\.)*+\"?|'(?:[^'\\]|\\.)*+'?|(?:\[redacted\]|[^\s,;&\"'<>(){}])*+", re.DOTALL)
_LINE = re.compile(r"[^\r\n]*+")
_WHOLE_LINE = ("authorization", "cookie")
"""Header values that have spaces and separators of their own."""
_DIGITS = re.compile(r"(?<![A-Za-z0-9])\d(?:[ -]?\d)*+(?![A-Za-z0-9])")
_GROUP = re.compile(r"\d+")
_SQL_LITERAL = re.compile(
    r"[EeBbXxNn]?'(?:[^']|'')*+'?|\$(\w*)\$(?s:.*?)(?:\$\1\$|\Z)|(?<=[=<>])(\s*+)\"[^\"]*+\"?"
    r"|(?<![\w$:@.])(?:0x[0-9A-Fa-f]++|\d++(?:\.\d++)?(?:[eE][+-]?\d++)?)"
)
_SQL_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|--[^\n]*", re.DOTALL)
_SPACE = re.compile(r"\s+")

_extra: set[str] = set()


def also_secret(names: tuple[str, ...]) -> None:
    """Treat further key names as secret (`FIRSTCAUSE_REDACT`)."""
    _extra.update(name.lower() for name in names)
    is_secret.cache_clear()


@lru_cache(maxsize=4096)
def is_secret(key: str) -> bool:
    """Whether the value under `key` must not be shown."""
    key = key[:256]
    lowered = key.lower()
    if lowered in _extra:
        return True
    joined = _NOT_WORD.sub("", lowered)
    if any(word in joined for word in _INSIDE):
        return True
    return joined in _WORDS or any(part.lower() in _WORDS for part in _PART.findall(key))


def redact_value(text: str) -> str:
    """`text` with every recognisable secret replaced."""
    text = text[:MOST]
    for _ in range(4):  # one replacement can bare the edge of another; a second look settles it
        found = _once(text)
        if found == text:
            break
        text = found
    return text


def _once(text: str) -> str:
    if "=" in text or ":" in text:
        text = _assigned(text)
    if "://" in text:
        text = _USERINFO.sub(MASK, text)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return _DIGITS.sub(_cards, text)


def _assigned(text: str) -> str:
    """Mask what follows `key=` and `key:` of secret keys; a value of another key is searched itself."""
    kept: list[str] = []
    place = 0
    while (found := _KEY.search(text, place)) is not None:
        end = start = found.end()
        kept.append(text[place:start])
        if is_secret(found[1]):
            end, mask = _value(text, start, found[1].lower())
            kept.append(mask)
        place = end
    kept.append(text[place:])
    return "".join(kept)


def _value(text: str, start: int, key: str) -> tuple[int, str]:
    quote = text[start : start + 1]
    if quote not in ("'", '"') and any(word in key for word in _WHOLE_LINE):
        found = _LINE.match(text, start)
    else:
        found = _VALUE.match(text, start)
    end = start if found is None else found.end()
    if end == start:
        return start, ""
    return end, f"{quote}{MASK}{quote}" if quote in ("'", '"') else MASK


def _cards(found: re.Match[str]) -> str:
    """Card numbers among the digit groups of one run: 13 to 19 digits with a valid check digit."""
    text = found[0]
    groups = [group.span() for group in _GROUP.finditer(text)]
    kept: list[str] = []
    place = first = 0
    while first < len(groups):
        last = _card_from(text, groups, first)
        if last is None:
            first += 1
            continue
        kept += [text[place : groups[first][0]], MASK]
        place, first = groups[last][1], last + 1
    return "".join([*kept, text[place:]])


def _card_from(text: str, groups: list[tuple[int, int]], first: int) -> int | None:
    digits = ""
    for last in range(first, min(first + 19, len(groups))):
        digits += text[groups[last][0] : groups[last][1]]
        if len(digits) > 19:
            return None
        if len(digits) >= 13 and digits[0] in "3456" and _luhn(digits):
            return last
    return None


def _luhn(digits: str) -> bool:
    numbers = [int(c) for c in reversed(digits)]
    return sum(d if n % 2 == 0 else sum(divmod(2 * d, 10)) for n, d in enumerate(numbers)) % 10 == 0


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
    except Exception:  # noqa: BLE001 - what cannot be shown is no reason to raise
        return "<unprintable>"


def redact_sql(statement: str) -> str:
    """The statement with literals as `?` and comments gone, in one line.

    Whether a backslash escapes a quote depends on the server: such a statement is cut at its first literal.
    """
    text = statement[:MOST]
    if "\\'" in text:
        text = text[: text.index("'")] + "?"
    text = _SQL_LITERAL.sub(lambda found: (found[2] or "") + "?", _SQL_COMMENT.sub(" ", text))
    return _SPACE.sub(" ", text).strip()


def redact_url(url: str) -> str:
    """The URL without user info and fragment, and with every query value masked."""
    base, question, query = url[:4096].partition("#")[0].partition("?")
    base = redact_value(_USERINFO.sub(MASK, base))
    if not question:
        return base
    names = [redact_value(part.partition("=")[0]) for part in query.split("&")]
    return base + "?" + "&".join(f"{name}={MASK}" for name in names[:50])
