"""psycopg 3 and its pools against a real PostgreSQL: alone, and below SQLAlchemy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from firstcause import _guard
from firstcause.clients import psycopg as adapter
from firstcause.clients import sql
from firstcause.diagnosis.ledger import stamped
from firstcause.diagnosis.unit import Unit
from tests.sdk.clients.workbench import Workbench

SHOP = "db:postgresql/shop"
SLEEP = "SELECT 'hush', pg_sleep(%s)"


@pytest.fixture(name="connection")
def _connection(bench: Workbench, postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS goods (id int, name text)")
        connection.execute("TRUNCATE goods")
        yield connection


@pytest.fixture(name="aconnection")
async def _aconnection(bench: Workbench, postgres_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        yield connection


def _names(bench: Workbench, unit: Unit) -> list[str]:
    return [span.name for span in bench.spans if span.parent_span_id == unit.span.span_id]


def test_a_statement_is_a_span_and_time_of_the_database(
    bench: Workbench, connection: psycopg.Connection, postgres_url: str
) -> None:
    """A statement is one CLIENT span with redacted text and a summary; its time is the database's."""
    with bench.unit() as unit:
        connection.execute("INSERT INTO goods VALUES (%s, 'hush')", (1,))
        assert 1 == unit.ledger.accounts[SHOP].count
    (span,) = (span for span in bench.spans if span.parent_span_id == unit.span.span_id)
    assert {
        "db.system.name": "postgresql", "db.namespace": "shop", "db.operation.name": "INSERT",
        "db.query.summary": "INSERT goods", "db.query.text": "INSERT INTO goods VALUES (%s, ?)",
        "server.address": "127.0.0.1", "server.port": connection.info.port,
    } == span.attributes  # fmt: skip
    assert ("INSERT goods", 3) == (span.name, span.kind.value + 1)


async def test_an_async_statement_is_the_same(bench: Workbench, aconnection: psycopg.AsyncConnection) -> None:
    """The asyncio classes book alike, under the span of the task that asked."""
    with bench.unit() as unit:
        await aconnection.execute(SLEEP, (0.05,))
    assert ["SELECT"] == _names(bench, unit)
    assert bench.shares[SHOP] > 45


def test_everything_that_is_a_query_may_be_given(bench: Workbench, connection: psycopg.Connection) -> None:
    """Bytes and composed statements are shown like text; a batch says how many."""
    query = psycopg.sql.SQL("INSERT INTO {} VALUES (%s, {})").format(psycopg.sql.Identifier("goods"), "hush")
    with bench.unit() as unit, connection.cursor() as cursor:
        cursor.executemany(query, [(1,), (2,), (3,)])
        cursor.execute(b"SELECT 1 FROM goods")
    assert ["INSERT goods", "SELECT goods"] == _names(bench, unit)
    assert 3 == bench.named("INSERT goods")[0].attributes["db.operation.batch.size"]
    assert "hush" not in str([span.attributes for span in bench.spans])


@pytest.mark.parametrize("name", ["", "portal"])
def test_rows_of_a_cursor_are_time_of_the_database(bench: Workbench, connection: psycopg.Connection, name: str) -> None:
    """A server-side cursor is one span, and each of its fetches a wait; a client-side one fetches for nothing."""
    portal = connection.cursor(name) if name else connection.cursor()
    with bench.unit() as unit, connection.transaction(), portal as cursor:
        cursor.execute("SELECT n, pg_sleep(0.01) FROM generate_series(1, 4) AS g(n)")
        booked = unit.ledger.accounts[SHOP].ns
        assert 4 == len(cursor.fetchmany(2)) + len(cursor.fetchall())
        grown = unit.ledger.accounts[SHOP].ns - booked
    assert 1 == len(_names(bench, unit))
    assert (grown > 35e6) is bool(name)


def test_a_stream_ends_its_call_with_the_first_row(bench: Workbench, connection: psycopg.Connection) -> None:
    """`stream` is one span; later rows are waits, and what is done with a row between them is own code."""
    with bench.unit() as unit, connection.cursor() as cursor:
        for place, _row in enumerate(cursor.stream("SELECT n, pg_sleep(0.02) FROM generate_series(1, 3) AS g(n)")):
            assert 1 == len(_names(bench, unit)), f"row {place}"
            threading.Event().wait(0.03)
    assert bench.shares[SHOP] < bench.shares["app"] + 60
    assert bench.shares["app"] > 80


async def test_an_async_stream_is_the_same(bench: Workbench, aconnection: psycopg.AsyncConnection) -> None:
    """Rows arrive, one span is left, and a stream that is given up leaves the connection usable."""
    with bench.unit() as unit:
        async with aconnection.cursor() as cursor:
            assert 3 == len([row async for row in cursor.stream("SELECT generate_series(1, 3)")])
            async for _row in cursor.stream("SELECT generate_series(1, 3)"):
                break
    assert 2 == len(_names(bench, unit))
    assert bench.calls[SHOP] > 0


def test_a_copy_is_one_span(bench: Workbench, connection: psycopg.Connection) -> None:
    """COPY in and out is one span each, whatever is written between."""
    with bench.unit() as unit, connection.cursor() as cursor:
        with cursor.copy("COPY goods FROM STDIN") as copy:
            copy.write_row((1, "pen"))
        with cursor.copy("COPY goods TO STDOUT") as copy:
            assert [("1", "pen")] == list(copy.rows())
    assert ["COPY goods", "COPY goods"] == _names(bench, unit)


def test_a_commit_is_time_without_a_span(bench: Workbench, postgres_url: str) -> None:
    """Connecting, beginning and committing are booked to the database, and make no spans."""
    with bench.unit() as unit:
        with psycopg.connect(postgres_url) as connection:
            connection.execute("SELECT 1")
        assert unit.ledger.accounts[SHOP].count >= 3
    assert ["SELECT"] == _names(bench, unit)


def test_a_refused_statement_is_stamped(bench: Workbench, connection: psycopg.Connection) -> None:
    """The server's complaint leads to its failed frame, and its code is on the span."""
    with bench.unit() as unit, pytest.raises(psycopg.errors.UndefinedTable) as raised:
        connection.execute("SELECT * FROM nowhere")
    frame = stamped(raised.value)
    assert frame is not None
    assert (True, SHOP) == (frame.failed, frame.resource)
    (span,) = (span for span in bench.spans if span.parent_span_id == unit.span.span_id)
    assert (2, "UndefinedTable", "42P01") == (
        span.status_code, span.attributes["error.type"], span.attributes["db.response.status_code"],
    )  # fmt: skip


async def test_a_cancelled_statement_is_not_failed(bench: Workbench, aconnection: psycopg.AsyncConnection) -> None:
    """A statement that its task is cancelled in is nobody's failure; one that ran into a limit of ours is."""
    with bench.unit() as unit:
        task = asyncio.ensure_future(aconnection.execute(SLEEP, (5,)))
        while unit.ledger.innermost().resource != SHOP:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert unit.ledger.last_failed is None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await aconnection.execute(SLEEP, (5,))
        assert unit.ledger.last_failed is not None
        assert unit.ledger.last_failed.timed_out


def test_outside_units_only_a_span_above_counts(bench: Workbench, connection: psycopg.Connection) -> None:
    """A script without units pays nothing, unless it is traced: then statements hang under its span."""
    connection.execute("SELECT 1")
    assert [] == bench.spans
    tracer = bench.recorder.provider.get_tracer("job")
    with tracer.start_as_current_span("nightly") as job:
        connection.execute("SELECT 1")
    assert [("SELECT", job.span_id), ("nightly", 0)] == [(s.name, s.parent_span_id) for s in bench.spans]


def test_below_sqlalchemy_it_says_nothing(bench: Workbench, postgres_url: str) -> None:
    """A statement through SQLAlchemy is one span; streamed rows below it are booked all the same."""
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as warm:
        warm.execute(text("SELECT 1"))
    bench.spans.clear()
    with bench.unit() as unit, engine.connect() as connection:
        rows = connection.execution_options(stream_results=True, max_row_buffer=1).execute(
            text("SELECT n, pg_sleep(0.01) FROM generate_series(1, 6) AS g(n)")
        )
        assert 6 == len(rows.all())
    engine.dispose()
    assert 1 == len(_names(bench, unit))
    assert bench.shares[SHOP] > 55


async def test_below_async_sqlalchemy_it_says_nothing(bench: Workbench, postgres_url: str) -> None:
    """The same for async engines."""
    engine = create_async_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    async with engine.connect() as warm:
        await warm.execute(text("SELECT 1"))
    with bench.unit() as unit:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await connection.commit()
        # The statement and the commit, each once; the pool's check and its reset are waits too.
        assert unit.ledger.accounts[SHOP].count <= 4
    await engine.dispose()
    assert ["SELECT"] == _names(bench, unit)


def test_a_bug_of_ours_does_not_reach_the_host(
    bench: Workbench, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When our own code raises, the host still gets its rows, and the error is counted."""
    _guard.strict(False)
    monkeypatch.setattr(sql, "read", lambda _statement: 1 / 0)
    with bench.unit():
        assert (8,) == connection.execute("SELECT 8 -- never seen before").fetchone()
        assert [(9,)] == list(connection.cursor().stream("SELECT 9 -- nor this"))
    assert 2 == sum(n for (name, _pairs), n in _guard.self_counts().items() if name == "firstcause.self.errors")


# -- pools --------------------------------------------------------------------------------------


@pytest.fixture(name="pools")
def _pools() -> Any:
    return pytest.importorskip("psycopg_pool", reason="pip install psycopg-pool")


def test_a_wait_for_a_connection_names_what_its_holder_does(bench: Workbench, postgres_url: str, pools: Any) -> None:
    """A wait is booked to the pool and adopts what the holder spends its time in; a free connection costs no frame."""
    held = threading.Event()

    def hold() -> None:
        with bench.unit(), pool.connection() as connection:
            held.set()
            connection.execute(SLEEP, (0.3,))

    with pools.ConnectionPool(postgres_url, min_size=1, max_size=1) as pool:
        pool.wait()
        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(5)
        with bench.unit() as unit:
            with pool.connection():
                assert (1.0, 1.0, 0.0) == bench.metrics.readings()["db_pool:shop"]
            with pool.connection():
                pass
            account = unit.ledger.accounts["db_pool:shop"]
        holder.join()
    assert (1, True) == (account.count, account.ns > 100e6)
    assert account.longest is not None
    assert account.longest.adopted is not None
    assert SHOP == max(account.longest.adopted.items(), key=lambda item: item[1][0])[0]


async def test_holders_of_an_async_pool_are_known_and_forgotten(
    bench: Workbench, postgres_url: str, pools: Any
) -> None:
    """Who holds is known with its code place until the connection is given back; giving up waiting is a failed wait."""
    async with pools.AsyncConnectionPool(postgres_url, min_size=1, max_size=1, open=False) as pool:
        await pool.wait()
        with bench.unit() as unit:
            async with pool.connection():
                (hold,) = pool._firstcause_holders.current()
                assert unit.ledger is hold.ledger
                assert "test_holders_of_an_async_pool" in hold.where
                with pytest.raises(pools.PoolTimeout) as raised:
                    await pool.getconn(timeout=0.05)
            frame = stamped(raised.value)
            assert frame is not None
            assert (True, True, "db_pool:shop") == (frame.failed, frame.timed_out, frame.resource)
        assert [] == pool._firstcause_holders.current()


def test_on_and_off_leave_no_trace(bench: Workbench) -> None:
    """Taken off, the library is as it was."""
    assert adapter.__name__ == psycopg.Cursor.execute.__module__
    adapter.uninstrument()
    assert "psycopg" in psycopg.Cursor.execute.__module__.split(".")[0]
    assert isinstance(vars(psycopg.Connection)["connect"], classmethod)
    assert psycopg.connect == psycopg.Connection.connect
