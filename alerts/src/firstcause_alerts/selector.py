"""A Prometheus vector selector as a value: read, narrowed, rendered, and filled with an example series."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*("(?:[^"\\\n]|\\.)*")\s*(?:,|(?=\}))')
_NOT_RE2 = re.compile(r"\(\?(?![:imsU-]|P<)|\\[1-9Z]|[*+?}]\+")
"""Look-around, references back, `\\Z`, possessive quantifiers."""
# Go's expressions, which are Prometheus', repeat no more than 1,000 times.
MAX_LENGTH, MOST_REPEATS = 2000, 1000
_CANDIDATES = ("200", "500", "503", "429", "404", "GET", "POST", "ok", "error", "slow", "production", "/", "x")
"""What a regular expression without plain alternatives is tried with."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label."""

    label: str
    op: str
    value: str

    def accepts(self, given: str) -> bool:
        """Whether a label of this value passes. Prometheus anchors its expressions."""
        if self.op in ("=", "!="):
            return (given == self.value) == (self.op == "=")
        # DOTALL as in Prometheus 3; in 2.42 a dot stops at line breaks.
        return (re.fullmatch(self.value, given, re.DOTALL) is not None) == (self.op == "=~")

    def __str__(self) -> str:
        return f"{self.label}{self.op}{quote(self.value)}"


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric and the conditions on its labels."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        return self.name + ("{" + ",".join(map(str, self.matchers)) + "}" if self.matchers else "")

    def over(self, window: str) -> str:
        """The selector as a range."""
        return f"{self}[{window}]"

    def named(self, name: str) -> Selector:
        """The same conditions on another metric."""
        return Selector(name, self.matchers)

    def where(self, label: str, op: str, value: str) -> Selector:
        """One more condition."""
        return Selector(self.name, (*self.matchers, Matcher(label, op, value)))

    def without(self, *labels: str) -> Selector:
        """The conditions on other labels only."""
        return Selector(self.name, tuple(m for m in self.matchers if m.label not in labels))

    def of(self, label: str) -> list[Matcher]:
        """The conditions on one label."""
        return [matcher for matcher in self.matchers if matcher.label == label]

    def accepts(self, label: str, value: str) -> bool:
        """Whether a series with this label could be selected."""
        return all(matcher.accepts(value) for matcher in self.of(label))

    def example(self) -> dict[str, str] | None:
        """Labels of a series that is selected; None when none was found."""
        found = {}
        for label in dict.fromkeys(matcher.label for matcher in self.matchers):
            fitting = [v for v in candidates(self.of(label)) if self.accepts(label, v)]
            if not fitting:
                return None
            found[label] = fitting[0]
        return {label: value for label, value in found.items() if value}


def candidates(matchers: Iterable[Matcher]) -> list[str]:
    """Values worth trying: those named, plain alternatives, digits for dots, and common ones."""
    named: list[str] = []
    for matcher in matchers:
        if matcher.op == "=":
            named.append(matcher.value)
        elif matcher.op == "=~":
            plain = re.sub(r"\\(.)", r"\1", matcher.value).strip("()")
            named += [*plain.split("|"), *(part.replace(".", "0") for part in plain.split("|"))]
    # The empty one is a missing label, tried when nothing else fits.
    return [*named, *_CANDIDATES, ""]


def quote(text: str) -> str:
    """A PromQL string, which JSON's escapes suit; what has no escape there stays as it is."""
    # Escaped, an emoji would be two surrogates, which PromQL refuses.
    return json.dumps(text, ensure_ascii=False)


def parse(text: str) -> Selector:
    """Read `name{label="value",…}`. Raises ValueError with what is wrong."""
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    name = _NAME.match(text)
    if name is None:
        raise ValueError("it begins with no metric name")
    rest = text[name.end() :].strip()
    if not rest:
        return Selector(name[0])
    if not (rest.startswith("{") and rest.endswith("}")):
        raise ValueError('after the metric only {label="value",…} may follow')
    return Selector(name[0], tuple(_matchers(rest)))


def _matchers(rest: str) -> Iterable[Matcher]:
    at = 1
    while rest[at:].strip() != "}":
        found = _MATCHER.match(rest, at)
        if found is None:
            raise ValueError(f"cannot read {rest[at : at + 30]!r}")
        matcher = Matcher(found[1], found[2], _unquoted(found[3]))
        if "~" in matcher.op:
            _compiles(matcher.value)
        yield matcher
        at = found.end()


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except json.JSONDecodeError:
        # Backslash before what needs none, as in "5\d\d": Prometheus refuses it too.
        raise ValueError(f"{text} has an unknown escape; a backslash is written twice") from None


def _compiles(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
    # Python knows more than Prometheus, whose `check rules` lets it pass and whose server then refuses the file.
    # Escapes and classes are cut out first: `[*+]+` has no possessive quantifier.
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "", re.sub(r"\\[^1-9Z]", "", pattern))
    repeats = [int(count) for count in re.findall(r"(?<=[{,])(\d+)(?=[,}])", bare)]
    if found := _NOT_RE2.search(bare):
        raise ValueError(f"{pattern!r} has {found[0]!r}, which Prometheus does not know")
    if max(repeats, default=0) > MOST_REPEATS:
        raise ValueError(f"{pattern!r} repeats more than {MOST_REPEATS} times")
