"""No planted secret survives redaction, whatever surrounds it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstcause.logs.redaction import (
    MASK,
    MOST,
    is_secret,
    redact,
    redact_attributes,
    redact_mapping,
    redact_sql,
    redact_url,
    redact_value,
)

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
    ('{\\"password\\": \\"hunter2xyz\\"}', "hunter2xyz"), ('{\\\\\\"token\\\\\\": \\\\\\"hunter2xyz\\\\\\"}', "hunter2xyz"),
    ("%22password%22%3A%22hunter2xyz%22", "hunter2xyz"), ("[('X-Api-Key', 'hunter2xyz')]", "hunter2xyz"),
    ("[(b'cookie', b'a=hunter2xyz')]", "hunter2xyz"), ("{b'password': b'hunter2xyz'}", "hunter2xyz"),
    ("GET /cb?code=hunter2xyz&state=zzhunter2", "hunter2"), ("X-Amz-Signature=hunter2xyz&a=1", "hunter2xyz"),
    ("sig=hunter2xyz%3D", "hunter2xyz"), ("host=db password=hunter2xyz dbname=shop", "hunter2xyz"),
    ("Set-Cookie: sid=hunter2xyz; Path=/", "hunter2xyz"), ("AccountKey=hunter2xyz==;Endpoint", "hunter2xyz"),
    ("[SQL: INSERT]\n[parameters: ('ann', 'hunter2xyz')]", "hunter2xyz"),
    ("DETAIL:  Key (email)=(hunter2xyz) already exists.", "hunter2xyz"),
    ("DETAIL:  Failing row contains (1, hunter2xyz, null).", "hunter2xyz"),
    ("(1062, \"Duplicate entry 'hunter2xyz' for key 'users.name'\")", "hunter2xyz"),
    ("SELECT id FROM users WHERE name = 'hunter2xyz'", "hunter2xyz"), ("update users set name='hunter2xyz'", "hunter2xyz"),
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


@pytest.mark.parametrize(("text", "secret"), [p for p in PLANTED if "\n" not in p[0]])
def test_a_cut_does_not_save_a_secret(text: str, secret: str) -> None:
    """Text that is too long is searched beyond the place where it is cut."""
    for before in range(MOST - len(text), MOST - len(text) + 40):
        assert secret not in redact_value(" " * before + text)


@pytest.mark.parametrize(
    "value",
    [
        {"headers": [("Authorization", "hunter2"), (b"x-api-key", b"hunter2")]}, {"user": {"tokens": ["hunter2"]}},
        {"raw": b'{"password": "hunter2"}'}, {"body": '{"user": {"password": "hunter2"}}'}, {"pass": "hunter2"},
        {"error": RuntimeError("postgresql://shop:hunter2@db/shop")},
    ],
)  # fmt: skip
def test_secrets_in_structures_are_gone(value: dict[str, Any]) -> None:
    """Pairs, nested keys, bytes, JSON in strings, and the text of exceptions."""
    assert "hunter2" not in repr(redact_mapping(value))


@pytest.mark.parametrize(
    "text",
    ["order 7 paid by card in 3 ms", "GET /orders?page=2&sort=name", "status code=200", "tests pass_count=3",
     "2024-11-05 10:11:12,123", "Key error: 'name'", "select a seat from the map"],
)  # fmt: skip
def test_ordinary_text_stays(text: str) -> None:
    """What is no secret is not masked."""
    assert text == redact_value(text)


FOREIGN = {
    "http.url": "https://u:hunter2@h/p?token=hunter2", "url.full": "https://h/?q=hunter2", "url.query": "a=hunter2",
    "http.target": "/p?code=hunter2", "http.request.header.authorization": ["Bearer hunter2xyz"],
    "http.request.header.x_api_key": ("hunter2",), "http.response.header.set_cookie": "sid=hunter2",
    "db.statement": "SELECT 'hunter2'", "db.query.text": "INSERT INTO t VALUES ('hunter2')",
    "db.query.parameter.0": "hunter2", "db.connection_string": "host=h password=hunter2",
    "exception.message": "token=hunter2", "exception.stacktrace": 'File "x"\n  password="hunter2"',
    "custom": ["ok", "secret: hunter2"], "raw": b"password=hunter2", "rpc.request.metadata.cookie": "hunter2",
    "graphql.document": '{"password": "hunter2"}', "messaging.url": "amqp://u:hunter2@h/", "user.token": 7,
}  # fmt: skip


@pytest.mark.parametrize("key", FOREIGN)
def test_attributes_of_other_libraries_are_redacted(key: str) -> None:
    """Whatever instrumentation wrote: nothing planted is left, and looking twice changes nothing."""
    once = redact_attributes({"kept": 1, key: FOREIGN[key]})
    assert "hunter2" not in repr(once)
    assert (1, once) == (once["kept"], redact_attributes(once))


def test_commands_of_a_cache_lose_their_arguments() -> None:
    """A command is no SQL: its name stays, a `?` stands for each argument."""
    clean = redact_attributes({"db.system": "redis", "db.statement": "SET session:1 hunter2"})
    assert "SET ? ?" == clean["db.statement"]


def test_clean_attributes_are_not_copied() -> None:
    """The same object comes back, so that spans without secrets cost nothing but the look."""
    clean = {"http.request.method": "GET", "http.route": "/orders/{id}", "n": 3, "plan": "gold", "tags": ("a", "b")}
    assert redact_attributes(clean) is clean


def test_a_word_made_secret_later_is_secret_at_once() -> None:
    """What was remembered about names is forgotten when a name is added."""
    from firstcause.logs import redaction

    assert {"shoe.size": "43"} == redact_attributes({"shoe.size": "43"})
    try:
        redaction.also_secret(("shoe.size",))
        assert {"shoe.size": MASK} == redact_attributes({"shoe.size": "43"})
    finally:
        redaction._extra.clear()
        redaction.also_secret(())
