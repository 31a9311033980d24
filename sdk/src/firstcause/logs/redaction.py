"""Secrets out of everything that leaves: values of secret keys, and secrets recognisable by their shape.

Pure and linear in the input's length; text beyond `MOST` characters is cut after it was searched. Redacting
twice changes nothing. Masked: what stands behind a secret key in text, JSON (also JSON in a string), headers,
DSNs and URLs; user info of URLs; tokens, keys and card numbers by their form; literals of SQL statements and
what databases quote in their errors; e-mail addresses, since they name a person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

MASK = "[redacted]"
MOST = 16_384
_OVERLAP = 256
"""Searched beyond `MOST`, so that the cut does not save half a secret from being recognised."""
DEPTH = 6
ITEMS = 256
"""Entries of one container."""
CHARACTERS = 65_536
"""Characters of all values of one record together."""
CUT = "[cut]"

_WORDS = frozenset((
    "pwd", "pw", "token", "tokens", "apikey", "cookie", "cookies", "session", "sessions", "sessionid", "sid",
    "signature", "sig", "ssn", "cvv", "cvc", "card", "cardnumber", "iban", "pin", "otp", "auth", "jwt", "bearer",
))  # fmt: skip
_ALONE = frozenset(("pass", "passcode", "dsn"))
"""Secret as a whole key, ordinary as part of one (`pass_count`)."""
_INSIDE = (
    "password", "passwd", "passphrase", "secret", "apikey", "accesskey", "accountkey", "privatekey", "authorization",
    "credential", "accesstoken", "refreshtoken", "authtoken", "setcookie", "cardnumber", "sessionid",
)  # fmt: skip
_QUERY = frozenset(("code", "state", "key", "hash", "nonce", "samlresponse", "assertion", "ticket"))
"""Secret as a parameter of a URL, ordinary anywhere else."""
_HINTS = tuple(sorted((_WORDS | _ALONE | set(_INSIDE)), key=len))
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NOT_WORD = re.compile(r"[^a-z0-9]+")

# Linear: each pattern either starts only where a run of its own characters starts, and takes the run
# possessively, or is bounded. Otherwise 16 KiB of hostile text would cost seconds. In front of each is what
# it cannot do without: to look for that is ten times cheaper.
_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    (
        ("-----BEGIN",),
        re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,40}-----|\Z)"),
    ),
    (
        ("bearer", "basic", "digest", "negotiate"),
        re.compile(r"(?i)(?<![a-z0-9])(?:bearer|basic|digest|negotiate)\s++[a-z0-9+/=._~-]{4,}+"),
    ),
    (("eyJ",), re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{4,}+(?:\.[A-Za-z0-9_-]++){1,4}+")),
    (
        ("AKIA", "ASIA", "AROA", "AIDA"),
        re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}+"),
    ),
    (
        ("k_", "k-"),
        re.compile(r"(?<![A-Za-z0-9_-])[spr]k[_-](?:live|test|proj|ant)[_-][A-Za-z0-9_-]{6,}+"),
    ),
    (
        ("gh", "glpat-", "xox", "npm_", "pypi-", "shpat_", "whsec_", "AIza"),
        re.compile(
            r"(?<![A-Za-z0-9_-])(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|npm_|pypi-|shpat_|whsec_|AIza)"
            r"[A-Za-z0-9_-]{8,}+"
        ),
    ),
    (
        ("@",),
        re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){1,8}"),
    ),
    # What databases and SQLAlchemy quote in their errors: the values of the row or of the statement.
    (("[parameters: ",), re.compile(r"(?<=\[parameters: )[^\n]*+")),
    (("Key (",), re.compile(r"(?<=\)=\()[^\n]*?(?=\) (?:already|is|conflicts)|\n|\Z)")),
    (("row contains (",), re.compile(r"(?<=row contains \()[^\n]*+")),
    (("Duplicate entry '",), re.compile(r"(?<=Duplicate entry ')[^\n]*?(?=' for key|\n|\Z)")),
)
_USERINFO = re.compile(r"(?<=://)[^\s/?#\"'<>]{1,512}(?=@)")
# Quotes may be escaped (JSON in a string), URL-encoded, or those of a tuple: ('X-Api-Key', b'...').
_KEY = re.compile(
    r"(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]++)(?:(?:\\*+[\"']|%22)?\s{0,4}+(?:[=:]|%3[AaDd])|\\*+[\"'],)"
    r"\s{0,4}+(?:[bBuUrRfF]{1,2}(?=[\"']))?"
)
_VALUE = re.compile(r"\"(?:[^\"\\]|\\.)*+\"?|'(?:[^'\\]|\\.)*+'?|(?:\[redacted\]|[^\s,;&\"'<>(){}\\])*+", re.DOTALL)
_ESCAPED = re.compile(r"(\\++[\"'])(?:(?!\1).)*+(?:\1)?", re.DOTALL)
_LINE = re.compile(r"[^\r\n]*+")
_WHOLE_LINE = ("authorization", "cookie")
"""Header values that have spaces and separators of their own."""
_DIGITS = re.compile(r"(?<![A-Za-z0-9])\d(?:[ -]?\d){12,}+(?![A-Za-z0-9])")
_GROUP = re.compile(r"\d+")
_SQL_LITERAL = re.compile(
    r"[EeBbXxNn]?'(?:[^']|'')*+'?|\$(\w*)\$(?s:.*?)(?:\$\1\$|\Z)|(?<=[=<>])(\s*+)\"[^\"]*+\"?"
    r"|(?<![\w$:@.])(?:0x[0-9A-Fa-f]++|\d++(?:\.\d++)?(?:[eE][+-]?\d++)?)"
)
_SQL_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|--[^\n]*", re.DOTALL)
_SQL_BEGINS = re.compile(
    r"(?i)\b(?:select\b[^\n]{1,400}?\bfrom|insert\s{1,8}into|update\s{1,8}\S{1,128}\s{1,8}set|delete\s{1,8}from)\b"
)
_SQL_TEXT = re.compile(r"'(?:[^'\n]|'')*+'?")
_SPACE = re.compile(r"\s+")

_extra: set[str] = set()


def also_secret(names: tuple[str, ...]) -> None:
    """Treat further key names as secret (`FIRSTCAUSE_REDACT`)."""
    _extra.update(name.lower() for name in names)
    is_secret.cache_clear()
    _short_value.cache_clear()
    _rules.clear()
    _known_text.cache_clear()
    _rules.clear()


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
    return joined in _WORDS or joined in _ALONE or any(part.lower() in _WORDS for part in _PART.findall(key))


def redact_value(text: str) -> str:
    """`text` with every recognisable secret replaced."""
    text = text[: MOST + _OVERLAP]
    for _ in range(4):  # one replacement can bare the edge of another; a second look settles it
        found = _once(text)
        if found == text:
            break
        text = found
    return text[:MOST]


def _once(text: str) -> str:
    lowered = text.lower()
    if _assigns(text, lowered):
        text = _assigned(text)
    if "://" in text:
        text = _USERINFO.sub(MASK, text)
    for needles, pattern in _PATTERNS:
        for needle in needles:
            if needle in text or needle in lowered:
                text = pattern.sub(MASK, text)
                break
    if "'" in text and (found := _SQL_BEGINS.search(text)) is not None:
        text = text[: found.end()] + _SQL_TEXT.sub(f"'{MASK}'", text[found.end() :])
    return _DIGITS.sub(_cards, text)


def _assigns(text: str, lowered: str) -> bool:
    """Whether a secret key may be in `text`, with a value behind it."""
    if not ("=" in text or ":" in text or "'," in text or '",' in text or "%3" in text):
        return False
    squeezed = lowered.replace("_", "").replace("-", "").replace(".", "")
    if any(hint in squeezed for hint in _HINTS) or any(name in lowered for name in _extra):
        return True
    return "?" in text or "&" in text


def _assigned(text: str) -> str:
    """Mask what follows `key=` and `key:` of secret keys; a value of another key is searched itself."""
    kept: list[str] = []
    place = 0
    while (found := _KEY.search(text, place)) is not None:
        end = start = found.end()
        kept.append(text[place:start])
        key = found[1]
        if is_secret(key) or (key.lower() in _QUERY and text[found.start() - 1 : found.start()] in ("?", "&")):
            end, mask = _value(text, start, key.lower())
            kept.append(mask)
        place = end
    kept.append(text[place:])
    return "".join(kept)


def _value(text: str, start: int, key: str) -> tuple[int, str]:
    quote = text[start : start + 1]
    if quote == "\\" and (escaped := _ESCAPED.match(text, start)) is not None:
        return escaped.end(), f"{escaped[1]}{MASK}{escaped[1]}"
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


# -- records ------------------------------------------------------------------------------------


class Room:
    """How much of one record is still kept; `cut` says that something was left out."""

    __slots__ = ("cut", "left", "value")

    def __init__(self, characters: int = CHARACTERS, value: int = MOST) -> None:
        self.left, self.value, self.cut = characters, value, False

    def take(self, text: str) -> str:
        """As much of `text` as one value may have and as there is room for."""
        most = min(self.value, max(self.left, 0))
        if len(text) > most:
            self.cut = True
            text = text[:most]
        self.left -= len(text)
        return text


def redact_mapping(fields: Mapping[Any, Any], depth: int = DEPTH, room: Room | None = None) -> dict[str, Any]:
    """A copy of `fields`: values of secret keys masked, strings searched, nesting followed to `depth`.

    Bounded by `room` (`CHARACTERS` in all by default) and to `ITEMS` entries per container.
    """
    room = room or Room()
    clean: dict[str, Any] = {}
    for key, value in fields.items():
        if len(clean) >= ITEMS or room.left <= 0:
            room.cut = True
            break
        name = _text(key)[:256]
        room.left -= len(name)
        clean[name] = MASK if is_secret(name) else redact(value, depth - 1, room)
    return clean


def redact(value: Any, depth: int = DEPTH, room: Room | None = None) -> Any:
    """Any value as it may leave: plain JSON types, redacted and bounded."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    room = room or Room()
    if isinstance(value, str):
        return room.take(redact_value(value))
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _container(value, depth, room)
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value[: MOST + _OVERLAP])
    return room.take(redact_value(_text(value)))


def _container(value: Any, depth: int, room: Room) -> Any:
    if depth <= 0 or room.left <= 0:  # not its text either: that could be of any length
        room.cut = True
        return CUT
    if isinstance(value, Mapping):
        return redact_mapping(value, depth, room)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (str, bytes)) and _names_secret(value[0]):
        return [_text(value[0]), MASK]  # one header of a list of pairs
    clean: list[Any] = []
    for item in value:
        if len(clean) >= ITEMS or room.left <= 0:
            room.cut = True
            break
        room.left -= 1
        clean.append(redact(item, depth - 1, room))
    return clean


def _names_secret(key: str | bytes) -> bool:
    return is_secret(key if isinstance(key, str) else key[:256].decode("latin-1"))


def _text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else str(value)
    except Exception:  # noqa: BLE001 - what cannot be shown is no reason to raise
        return "<unprintable>"


# -- statements and addresses ---------------------------------------------------------------------


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
    return base + "?" + _masked(query) if question else base


def _masked(query: str) -> str:
    parts = [part.partition("=") for part in query.split("&", 50)[:50]]
    # What has no name is all value.
    return "&".join(f"{redact_value(name)}={MASK}" if equals else MASK for name, equals, _ in parts)


# -- spans of other libraries ---------------------------------------------------------------------

_SAFE = frozenset((
    "http.request.method", "http.method", "http.response.status_code", "http.status_code", "http.route", "http.flavor",
    "http.scheme", "http.server_name", "url.scheme", "url.template", "server.address", "server.port", "client.port",
    "client.address", "net.peer.name", "net.peer.port", "net.host.name", "net.host.port", "net.transport",
    "network.protocol.name", "network.protocol.version", "network.transport", "network.peer.port",
    "network.peer.address", "db.system", "db.system.name", "db.operation", "db.operation.name", "db.name",
    "db.namespace", "db.collection.name", "db.sql.table", "rpc.system", "rpc.system.name", "rpc.service", "rpc.method",
    "rpc.grpc.status_code", "rpc.response.status_code", "messaging.system", "messaging.operation",
    "messaging.operation.name", "messaging.operation.type", "messaging.destination.name", "messaging.destination",
    "messaging.message.id", "error.type", "exception.type", "exception.escaped", "thread.id", "thread.name",
    "code.function", "code.function.name", "code.namespace", "code.filepath", "code.file.path", "code.lineno",
    "code.line.number", "otel.status_code", "session_id", "user_hash", "request_id",
))  # fmt: skip
"""Names of closed sets, of places in code and of ids of ours: their values are looked at by nobody."""
_SAFE_BEGINS = ("firstcause.", "telemetry.sdk.", "process.runtime.")
_URLS = frozenset((
    "url.full", "http.url", "http.target", "http.request.header.referer", "http.response.header.location",
    "messaging.url", "browser.url", "http.request.header.origin",
))  # fmt: skip
_STATEMENTS = frozenset(("db.statement", "db.query.text", "db.query.summary"))
_KEY_VALUE = frozenset(("redis", "memcached", "valkey"))
_SHORT = 256
"""Longer values are searched each time, so that what is remembered stays small."""


def redact_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes of a span, an event or a link as they may leave; `attributes` itself when there is nothing in it.

    For what other libraries' instrumentation wrote. What to do is remembered by name; only strings are
    looked at, so that clean attributes cost a dictionary look-up or a few microseconds each.
    """
    changed: dict[str, Any] | None = None
    for key, value in attributes.items():
        rule = _rules.get(key)
        if rule is None:
            rule = _rule(key)
        if rule is _kept:
            continue
        clean = rule(value, attributes)
        if clean is not value and clean != value:
            if changed is None:
                changed = dict(attributes)
            changed[key] = clean
    return attributes if changed is None else changed


_Rule = Callable[[Any, Mapping[str, Any]], Any]
_rules: dict[str, _Rule] = {}


def _rule(key: str) -> _Rule:
    """What is done with values under `key`; remembered for the first thousand names."""
    rule = _decided(key)
    if len(_rules) < 1024:
        _rules[key] = rule
    return rule


def _decided(key: str) -> _Rule:
    if key in _SAFE or key.startswith(_SAFE_BEGINS):
        return _kept
    if key in _URLS:
        return _url
    if key == "url.query":
        return _query
    if key in _STATEMENTS:
        return _statement
    if is_secret(key) or key.startswith(("db.query.parameter.", "db.statement.parameters")):
        return _masked_value
    return _searched


def _kept(value: Any, _all: Mapping[str, Any]) -> Any:
    return value


def _masked_value(value: Any, _all: Mapping[str, Any]) -> Any:
    return MASK if isinstance(value, (str, bytes, int, float)) else [MASK]


def _url(value: Any, _all: Mapping[str, Any]) -> Any:
    return _each(value, _known_url)


def _query(value: Any, _all: Mapping[str, Any]) -> Any:
    return _each(value, _masked)


def _statement(value: Any, attributes: Mapping[str, Any]) -> Any:
    if (attributes.get("db.system.name") or attributes.get("db.system")) in _KEY_VALUE:
        return _each(value, _command)
    return _each(value, _known_sql)


def _command(text: str) -> str:
    """A command of a key-value store: its name, and a `?` per argument."""
    name, *arguments = text[:MOST].split(" ", 64)
    return " ".join([name[:32], *("?" for _ in arguments)])


def _searched(value: Any, _all: Mapping[str, Any]) -> Any:
    return _each(value, _search)


def _search(text: str) -> str:
    """User agents and the like come again and again; the long ones do not."""
    return _known_text(text) if len(text) <= 256 else redact_value(text)


def _each(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bytes):
        return clean(value.decode("utf-8", "replace"))
    if isinstance(value, (list, tuple)):
        made = [_each(item, clean) for item in value]
        return tuple(made) if isinstance(value, tuple) else made
    return value


# Attributes repeat: what was looked at once need not be again.


@lru_cache(maxsize=512)
def _known_sql(statement: str) -> str:
    return redact_sql(statement)


def _known_url(url: str) -> str:
    return _short_url(url) if len(url) <= _SHORT else redact_url(url)


def _known_value(text: str) -> str:
    return _short_value(text) if len(text) <= _SHORT else redact_value(text)


_short_url = lru_cache(maxsize=1024)(redact_url)
_short_value = lru_cache(maxsize=2048)(redact_value)


@lru_cache(maxsize=1024)
def _known_text(text: str) -> str:
    return redact_value(text)
