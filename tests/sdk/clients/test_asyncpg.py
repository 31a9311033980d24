"""asyncpg and its pool against a real PostgreSQL: alone, and below SQLAlchemy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from firstcause.clients import asyncpg as adapter
from firstcause.diagnosis.ledger import stamped
from firstcause.diagnosis.unit import Unit
from tests.sdk.clients.workbench import Workbench

SHOP = "db:postgresql/shop"
SLEEP = "SELECT 'hush', pg_sleep($1)"


@pytest.fixture(name="connection")
async def _connection(bench: Workbench, postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE IF NOT EXISTS stock (id int, name text)")
    await connection.execute("TRUNCATE stock")
    yield connection
    await connection.close()


def _names(bench: Workbench, unit: Unit) -> list[str]:
    return [span.name for span in bench.spans if span.parent_span_id == unit.span.span_id]


async def test_a_statement_is_a_span_and_time_of_the_database(
    bench: Workbench, connection: Any, postgres_url: str
) -> None:
    """A statement is one CLIENT span with redacted text and a summary; its time is the database's."""
    with bench.unit() as unit:
        await connection.execute("INSERT INTO stock VALUES ($1, 'hush')", 1)
        assert 1 == unit.ledger.accounts[SHOP].count
    (span,) = (span for span in bench.spans if span.parent_span_id == unit.span.span_id)
    assert {
        "db.system.name": "postgresql", "db.namespace": "shop", "db.operation.name": "INSERT",
        "db.query.summary": "INSERT stock", "db.query.text": "INSERT INTO stock VALUES ($1, ?)",
        "server.address": "127.0.0.1", "server.port": int(postgres_url.rpartition(":")[2].partition("/")[0]),
    } == span.attributes  # fmt: skip


async def test_every_way_to_ask_is_one_span(bench: Workbench, connection: Any) -> None:
    """Fetching in any shape, batches, prepared statements and copies are one span each."""
    with bench.unit() as unit:
        await connection.executemany("INSERT INTO stock VALUES ($1, $2)", [(1, "pen"), (2, "ink")])
        await connection.fetch("SELECT * FROM stock")
        await connection.fetchrow("SELECT * FROM stock")
        await connection.fetchval("SELECT count(*) FROM stock")
        prepared = await connection.prepare("SELECT name FROM stock WHERE id = $1")
        assert "pen" == await prepared.fetchval(1)
        await connection.copy_records_to_table("stock", records=[(3, "cap")])
        assert 7 == unit.ledger.accounts[SHOP].count
    assert ["INSERT stock", *5 * ["SELECT stock"], "COPY stock"] == _names(bench, unit)
    assert 2 == bench.named("INSERT stock")[0].attributes["db.operation.batch.size"]


async def test_rows_of_a_cursor_are_time_of_the_database(bench: Workbench, connection: Any) -> None:
    """A cursor is one span; further rows are waits without one."""
    query = "SELECT n, pg_sleep(0.01) FROM generate_series(1, 4) AS g(n)"
    with bench.unit() as unit:
        async with connection.transaction():
            assert 4 == len([row async for row in connection.cursor(query, prefetch=2)])
            cursor = await connection.cursor(query)
            assert 4 == len(await cursor.fetch(3)) + len(await cursor.fetch(3))
    assert 2 == len(_names(bench, unit))
    assert bench.shares[SHOP] > 75


async def test_a_transaction_is_time_without_spans(bench: Workbench, connection: Any) -> None:
    """BEGIN and COMMIT are booked to the database and make no spans."""
    with bench.unit() as unit:
        async with connection.transaction():
            await connection.fetchval("SELECT 1")
        assert 3 == unit.ledger.accounts[SHOP].count
    assert ["SELECT"] == _names(bench, unit)


async def test_a_refused_statement_is_stamped(bench: Workbench, connection: Any) -> None:
    """The server's complaint leads to its failed frame, and its code is on the span."""
    with bench.unit() as unit, pytest.raises(asyncpg.UndefinedTableError) as raised:
        await connection.fetch("SELECT * FROM nowhere")
    frame = stamped(raised.value)
    assert frame is not None
    assert (True, SHOP) == (frame.failed, frame.resource)
    (span,) = (span for span in bench.spans if span.parent_span_id == unit.span.span_id)
    assert ("UndefinedTableError", "42P01") == (
        span.attributes["error.type"], span.attributes["db.response.status_code"],
    )  # fmt: skip


@pytest.mark.parametrize("ours", [True, False], ids=["asyncpg's", "asyncio's"])
async def test_a_time_out_is_a_failed_statement(bench: Workbench, connection: Any, ours: bool) -> None:
    """A statement that ran into asyncpg's or the caller's limit failed and timed out."""
    with bench.unit() as unit:
        with pytest.raises(TimeoutError):
            if ours:
                await connection.fetch(SLEEP, 5, timeout=0.05)
            else:
                async with asyncio.timeout(0.05):
                    await connection.fetch(SLEEP, 5)
        failed = unit.ledger.last_failed
        assert failed is not None
        assert (True, SHOP) == (failed.timed_out, failed.resource)


async def test_below_sqlalchemy_it_says_nothing(bench: Workbench, postgres_url: str) -> None:
    """A statement through SQLAlchemy is one span; streamed rows below it are booked all the same."""
    engine = create_async_engine(postgres_url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.connect() as warm:
        await warm.execute(text("SELECT 1"))
    with bench.unit() as unit:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            rows = await connection.stream(text("SELECT n, pg_sleep(0.01) FROM generate_series(1, 6) AS g(n)"))
            assert 6 == len(await rows.all())
    await engine.dispose()
    assert 2 == len(_names(bench, unit))
    assert bench.shares[SHOP] > 55


# -- the pool -----------------------------------------------------------------------------------


async def test_a_wait_for_a_connection_names_what_its_holder_does(bench: Workbench, postgres_url: str) -> None:
    """A wait is booked to the pool and adopts what the holder spends its time in; a free connection costs no frame."""
    held = asyncio.Event()

    async def hold() -> None:
        with bench.unit():
            async with pool.acquire() as connection:
                held.set()
                await connection.fetch(SLEEP, 0.3)

    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        holder = asyncio.ensure_future(hold())
        await held.wait()
        with bench.unit() as unit:
            async with pool.acquire():
                assert (1.0, 1.0, 0.0) == bench.metrics.readings()["db_pool:shop"]
            async with pool.acquire():
                pass
            account = unit.ledger.accounts["db_pool:shop"]
        await holder
    assert (1, True) == (account.count, account.ns > 100e6)
    assert account.longest is not None
    assert account.longest.adopted is not None
    assert SHOP == max(account.longest.adopted.items(), key=lambda item: item[1][0])[0]


async def test_holders_are_known_and_forgotten(bench: Workbench, postgres_url: str) -> None:
    """Who holds is known with its code place until the connection is given back; what the pool resets is no span."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        with bench.unit() as unit:
            async with pool.acquire() as connection:
                (hold,) = adapter._pool(pool).holders.current()
                assert unit.ledger is hold.ledger
                assert "test_holders_are_known_and_forgotten" in hold.where
                await connection.fetchval("SELECT 1")
                with pytest.raises(TimeoutError):
                    await pool.acquire(timeout=0.05)
                failed = unit.ledger.last_failed
                assert failed is not None
                assert (True, "db_pool:shop") == (failed.timed_out, failed.resource)
            assert [] == adapter._pool(pool).holders.current()
        assert ["SELECT"] == _names(bench, unit)


async def test_on_and_off_leave_no_trace(bench: Workbench) -> None:
    """Taken off, the library is as it was."""
    assert adapter.__name__ == asyncpg.Connection.fetch.__module__
    adapter.uninstrument()
    assert "asyncpg.connection" == asyncpg.Connection.fetch.__module__
