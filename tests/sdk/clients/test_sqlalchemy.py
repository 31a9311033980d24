"""SQLAlchemy against a real PostgreSQL, sync and async: statements, pool waits, holders."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, exc, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from firstcause.clients import sqlalchemy as adapter
from firstcause.clients import uninstrument_all
from firstcause.diagnosis.ledger import stamped
from tests.sdk.clients.workbench import Workbench

SELECT = text("SELECT 'hush', pg_sleep(:s)")


@pytest.fixture(name="url")
def _url(postgres_url: str) -> str:
    return postgres_url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture(name="engine")
def _engine(bench: Workbench, url: str) -> Iterator[Engine]:
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=5)
    yield engine
    engine.dispose()


@pytest.fixture(name="aengine")
async def _aengine(bench: Workbench, url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=5)
    yield engine
    await engine.dispose()


def test_a_statement_is_a_span_and_time_of_the_database(bench: Workbench, engine: Engine) -> None:
    """A statement is one CLIENT span with redacted text, and its time is booked to the database by name."""
    with bench.unit() as unit, engine.connect() as connection:
        connection.execute(SELECT, {"s": 0.05})
    span = bench.named("SELECT")[-1]
    assert unit.span.span_id == span.parent_span_id
    assert ("postgresql", "shop", "SELECT") == tuple(
        span.attributes[key] for key in ("db.system.name", "db.namespace", "db.operation.name")
    )
    assert "hush" not in span.attributes["db.query.text"]
    assert bench.shares["db:postgresql/shop"] > 45
    assert {"db:postgresql/shop", "app"} >= {r for r in bench.shares if not r.startswith("runtime")}


async def test_an_async_statement_is_the_same(bench: Workbench, aengine: AsyncEngine) -> None:
    """Async engines book alike, under the span of the task that asked."""
    with bench.unit() as unit:
        async with aengine.connect() as connection:
            await connection.execute(SELECT, {"s": 0.05})
    assert unit.span.span_id == bench.named("SELECT")[-1].parent_span_id
    assert bench.shares["db:postgresql/shop"] > 45


def test_engines_made_before_are_covered(bench: Workbench, url: str) -> None:
    """An engine that existed, and was connected, before the adapter came is covered as well."""
    uninstrument_all()
    engine = create_engine(url)
    engine.connect().close()
    adapter.instrument()
    with bench.unit(), engine.connect() as connection:
        connection.execute(SELECT, {"s": 0})
    engine.dispose()
    assert bench.calls["db:postgresql/shop"] > 0


def test_a_failing_statement_is_stamped(bench: Workbench, engine: Engine) -> None:
    """The driver's exception leads through SQLAlchemy's to the failed frame."""
    with bench.unit(), engine.connect() as connection, pytest.raises(exc.ProgrammingError) as raised:
        connection.execute(text("SELECT * FROM nowhere"))
    frame = stamped(raised.value.orig or raised.value)
    assert frame is not None
    assert (True, "db:postgresql/shop") == (frame.failed, frame.resource)


def test_a_failing_commit_is_stamped(bench: Workbench, engine: Engine) -> None:
    """A constraint that speaks up only at the commit makes the commit's frame the failed one."""
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS late"))
        connection.execute(text("CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    with bench.unit() as unit, engine.connect() as connection:
        connection.execute(text("INSERT INTO late VALUES (1), (1)"))
        with pytest.raises(exc.IntegrityError):
            connection.commit()
        failed = unit.ledger.last_failed
        assert failed is not None
        assert "COMMIT" == failed.detail


def test_an_overriding_dialect_is_covered_once(bench: Workbench, engine: Engine) -> None:
    """A dialect with an override that calls its base gives one span per statement, not two."""
    base: Any = type(engine.dialect)

    class Overriding(base):  # type: ignore[misc]
        supports_statement_cache = True

        def do_execute(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
            super().do_execute(cursor, statement, parameters, context)

    engine.connect().close()
    engine.dialect.__class__ = Overriding
    adapter._cover(Overriding)
    with bench.unit(), engine.connect() as connection:
        connection.execute(SELECT, {"s": 0})
    assert 1 == len(bench.named("SELECT"))


def _hold(bench: Workbench, engine: Engine, held: threading.Event, seconds: float) -> None:
    with bench.unit(), engine.connect() as connection:
        held.set()
        connection.execute(SELECT, {"s": seconds})


def test_a_wait_for_a_connection_names_what_its_holder_does(bench: Workbench, engine: Engine) -> None:
    """The wait is booked to the pool, and adopts the statement its holder spends the time in."""
    held = threading.Event()
    holder = threading.Thread(target=_hold, args=(bench, engine, held, 0.3))
    holder.start()
    held.wait(5)
    with bench.unit() as unit:
        with engine.connect():
            pass
        account = unit.ledger.accounts["db_pool:shop"]
    holder.join()
    waited = account.longest
    assert waited is not None
    assert waited.adopted is not None
    assert "db:postgresql/shop" == max(waited.adopted.items(), key=lambda item: item[1][0])[0]
    assert account.ns > 100e6


async def test_an_async_wait_is_booked_to_the_pool(bench: Workbench, aengine: AsyncEngine) -> None:
    """Waiting inside the greenlet of an async engine lands in the waiting task's unit."""
    held = asyncio.Event()

    async def hold() -> None:
        async with aengine.connect() as connection:
            held.set()
            await connection.execute(SELECT, {"s": 0.2})

    holder = asyncio.create_task(hold())
    await held.wait()
    with bench.unit():
        async with aengine.connect():
            pass
    await holder
    assert bench.shares["db_pool:shop"] > 100


def test_a_pool_time_out_is_a_failed_wait(bench: Workbench, url: str) -> None:
    """Giving up on the pool is stamped with the failed frame of the wait, as a time-out, with its holders."""
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with bench.unit(), engine.connect(), pytest.raises(exc.TimeoutError) as raised:
        engine.connect()
    frame = stamped(raised.value)
    assert frame is not None
    assert (True, True, "db_pool:shop") == (frame.failed, frame.timed_out, frame.resource)
    assert frame.holders is not None
    engine.dispose()


def test_a_free_connection_costs_no_frame(bench: Workbench, engine: Engine) -> None:
    """Checking out what is free opens no frame of the pool."""
    with bench.unit() as unit, engine.connect():
        assert "db_pool:shop" not in unit.ledger.accounts


def test_holders_are_known_with_their_place_and_forgotten(bench: Workbench, engine: Engine) -> None:
    """Who holds is known with unit and code place, until the connection is given back, or lost, or detached."""
    holders = adapter._holders(engine.pool)
    with bench.unit() as unit:
        connection = engine.connect()
        hold = holders.current()[0]
        assert unit.ledger is hold.ledger
        assert "test_holders_are_known_with_their_place_and_forgotten" in hold.where
        connection.close()
        assert [] == holders.current()
        connection = engine.connect()
        connection.invalidate()
        assert [] == holders.current()
        connection.close()
        engine.connect().detach()
        assert [] == holders.current()
    leaked = engine.raw_connection()
    assert 1 == len(holders.current())
    del leaked
    gc.collect()
    assert [] == holders.current()


async def test_an_async_holders_place_is_the_applications(bench: Workbench, aengine: AsyncEngine) -> None:
    """The place is found across the greenlet."""
    async with aengine.connect():
        hold = adapter._holders(aengine.sync_engine.pool).current()[0]
    assert "test_an_async_holders_place_is_the_applications" in hold.where


def test_the_pool_can_be_read(bench: Workbench, engine: Engine) -> None:
    """In use, limit and waiting of the pool are readings of the metrics, waits outside units included."""
    arrived = threading.Event()

    def wait() -> None:
        arrived.set()
        engine.connect().close()

    with engine.connect():
        waiter = threading.Thread(target=wait)
        waiter.start()
        arrived.wait(5)
        while not engine.pool._firstcause_waiting:  # type: ignore[attr-defined]
            threading.Event().wait(0.001)
        assert (1.0, 1.0, 1.0) == bench.metrics.readings()["db_pool:shop"]
    waiter.join()
    assert (0.0, 1.0, 0.0) == bench.metrics.readings()["db_pool:shop"]


async def test_sqlite_is_named_by_its_file(bench: Workbench, tmp_path: Any) -> None:
    """aiosqlite works alike; the path stays out of the name."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/stock.db")
    with bench.unit():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    await engine.dispose()
    assert bench.calls["db:sqlite/stock.db"] > 0
