"""Statements as they may be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause.clients.sql import LONGEST, STATEMENTS, Database, read
from tests.sdk.clients.workbench import Workbench


@pytest.mark.parametrize(
    ("statement", "summary"),
    [
        ("SELECT * FROM orders WHERE id = 7", "SELECT orders"),
        ("select o.id from orders o join items i on i.order_id = o.id", "SELECT orders items"),
        ("SELECT * FROM orders, items", "SELECT orders"),
        ('INSERT INTO "public"."orders" (id) VALUES (1)', 'INSERT public"."orders'),
        ("UPDATE orders SET paid = true", "UPDATE orders"),
        ("SELECT 1 FROM orders FOR UPDATE SKIP LOCKED", "SELECT orders"),
        ("INSERT INTO goods VALUES (1) ON CONFLICT DO UPDATE SET n = 1", "INSERT goods"),
        ("DELETE FROM ONLY orders", "DELETE orders"),
        ("WITH x AS (SELECT 1 FROM a) SELECT * FROM x", "WITH a x"),
        ("/* hint */ SELECT pg_sleep(1)", "SELECT"),
        ("COPY goods FROM STDIN", "COPY goods"),
        ("CREATE TABLE IF NOT EXISTS goods (id int)", "CREATE goods"),
        ("BEGIN;", "BEGIN"),
        ("", ""),
    ],
)
def test_a_summary_is_operation_and_tables(statement: str, summary: str) -> None:
    """A summary says what is done to which tables, and has few values however many literals there are."""
    assert summary == read(statement).summary


@given(st.text(alphabet="SELECT FROM orders'\"`()-*/\\;,.$?%\n0123456789", max_size=300))
def test_whatever_comes_is_bounded(text: str) -> None:
    """Any text gives short results, and a literal's inside is in none of them."""
    found = read(f"SELECT 'hu5h', {text}")
    assert (len(found.operation) <= 16, len(found.summary) <= 120) == (True, True)
    assert "hu5h" not in str(found)


def test_long_statements_are_cut_and_not_kept(bench: Workbench) -> None:
    """A bulk statement of megabytes costs no memory, and one with values in its text only a bounded one."""
    database = Database("postgresql", "db:postgresql/shop", "shop", None, None)
    with bench.unit():
        call = database.statement("SELECT 1, " * LONGEST)
        call.end()
        for n in range(2 * STATEMENTS):
            database.statement(f"SELECT {n}").end()
    assert len(call.attributes["db.query.text"]) <= 2048
    assert len(database._sorts) <= STATEMENTS
