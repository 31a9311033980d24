"""No planted secret survives redaction, whatever surrounds it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstcause.logs.redaction import MASK, is_secret, redact, redact_mapping, redact_sql, redact_url, redact_value

PLANTED = [
    ("password=hunter2xyz", "hunter2xyz"), ('"dbPassword": "a b\\"hunter2xyz"', "hunter2xyz"),
    ("Authorization: Bearer abcdefghijk", "abcdefghijk"), ("Authorization: Odd zzhunter2", "zzhunter2"),
    ("Cookie: a=1; b=hunter2xyz", "hunter2xyz"), ("{'api_key': 'hunter2xyz'}", "hunter2xyz"),
    ("basic dXNlcjpwYXNz", "dXNlcjpwYXNz"), ("postgres://u:p@ss@w0rd@host/db", "p@ss"),
    ("redis://:hunter2xyz@host/0", "hunter2xyz"), ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln", "eyJzdWIi"), ("sk_live_abcdef123456", "abcdef123456"),
    ("github_pat_11ABCDEFG0abcdefghij", "11ABCDEFG0"), ("4111-1111-1111-1111", "4111-1111"),
    ("2024 4111 1111 1111 1111", "4111"), ("mail ann.lee@example.com", "ann.lee"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----", "MIIabc"),
]  # fmt: skip
around = st.text(max_size=60)


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_a_planted_secret_is_gone(text: str, secret: str) -> None:
    """Each kind of secret is masked in running text."""
    assert secret not in redact_value(f"before {text}")


@given(around, st.sampled_from(PLANTED), around)
def test_a_planted_secret_is_gone_among_other_text(before: str, planted: tuple[str, str], after: str) -> None:
    """What stands on the lines around a secret does not save it."""
    assert planted[1] not in redact_value(f"{before}\n{planted[0]}\n{after}").removeprefix(before)


@settings(max_examples=300)
@given(st.lists(st.one_of(around, st.sampled_from([text for text, _ in PLANTED])), max_size=5).map(" ".join))
def test_redacting_twice_changes_nothing(text: str) -> None:
    """Redaction is idempotent for text, statements and URLs, and never raises."""
    for redacted in (redact_value, redact_sql, redact_url):
        assert redacted(text) == redacted(redacted(text))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 'it''s', 12, t1.c2, $1 -- hunter2", "SELECT ?, ?, t1.c2, $1"),
        ("x = $tag$hunter2$tag$ /* hunter2 */", "x = ?"), ("a = 'x\\' AND b='hunter2'", "a = ?"),
        ('name = "hunter2"', "name = ?"), ('SELECT "id" FROM "t2"', 'SELECT "id" FROM "t2"'),
    ],
)  # fmt: skip
def test_literals_leave_statements(statement: str, expected: str) -> None:
    """Literals and comments go, names and placeholders stay."""
    assert expected == redact_sql(statement)


def test_urls_lose_user_info_values_and_fragments() -> None:
    """A URL keeps its path and the names of its parameters only."""
    assert f"https://{MASK}@h/p?a={MASK}&t={MASK}" == redact_url("https://u:p@h/p?a=1&t=x#token=y")


@pytest.mark.parametrize("key", ["PGPASSWORD", "userPassword", "X-Api-Key", "set-cookie", "sessionid", "accessToken"])
def test_secret_keys_are_known_however_they_are_written(key: str) -> None:
    """Case, separators and camel case do not hide a secret key."""
    assert is_secret(key)


@pytest.mark.parametrize("key", ["cardinality", "author", "discarded", "route", "spinner", "order_id"])
def test_ordinary_keys_stay(key: str) -> None:
    """A key that only contains a secret word's letters is none."""
    assert not is_secret(key)


def test_nested_fields_are_followed() -> None:
    """Secrets are found at any depth that is printed, also under keys that are no text."""
    given_: dict[Any, Any] = {"user": {"password": "hunter2", b"k": ["token=hunter2", b"token=hunter2"]}, 7: 1.5}
    assert "hunter2" not in repr(redact_mapping(given_))
    assert 1.5 == redact_mapping(given_)["7"]


def test_unprintable_and_endless_values_are_survived() -> None:
    """A raising `__str__` and a structure that contains itself do not raise."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    endless: list[Any] = []
    endless.append(endless)
    assert "<unprintable>" == redact(Odd())
    assert isinstance(redact(endless), list)
