"""orders: products, stock, checkout and the sales report; pays through payments, mails through the queue."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import firstcause

from .settings import listening, required
from .switches import SWITCHES
from .tasks import make_queue

log = firstcause.get_logger()
app = FastAPI(title="orders")
payments = httpx.AsyncClient(timeout=10)
engine: AsyncEngine
mail: Any = None
PAYMENTS = ""
leaked: list[Any] = []

STOCK = text("SELECT sku, name, price, stock FROM products WHERE sku = :sku")
SLOW_STOCK = text("SELECT sku, name, price, stock, pg_sleep(0.9) FROM products WHERE sku = :sku")
BUYERS = text("SELECT buyer FROM orders WHERE sku = :sku ORDER BY id DESC LIMIT 3")
# Always one row, so that a product without buyers takes as long as the others.
SLOW_BUYERS = text("SELECT buyer, pg_sleep(3) FROM (SELECT 1) AS one LEFT JOIN orders ON sku = :sku LIMIT 1")
REPORT = text("SELECT sku, count(*) AS sold FROM orders GROUP BY sku ORDER BY sold DESC LIMIT 10")


class Cart(BaseModel):
    """What a user orders."""

    user: str
    skus: list[int]


@app.get("/health")
async def health() -> dict[str, str]:
    """For the supervisor."""
    return {"status": "ok"}


@app.get("/products")
async def products() -> list[dict[str, Any]]:
    """The catalogue."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT sku, name, price FROM products ORDER BY sku LIMIT 60"))
        return [dict(row) for row in rows.mappings()]


@app.get("/stock/{sku}")
async def stock(sku: int) -> dict[str, Any]:
    """One product."""
    statement = SLOW_STOCK if SWITCHES.on("slow_query") else STOCK
    async with engine.connect() as connection:
        row = (await connection.execute(statement, {"sku": sku})).mappings().first()
    found = dict(row) if row is not None else {"sku": sku, "stock": 0}
    found.pop("pg_sleep", None)
    if SWITCHES.on("timeout"):
        await asyncio.sleep(1.5)
    if SWITCHES.on("overlap"):
        await asyncio.gather(pay(0.1, 0), pay(0.7, 1))
    return found


@app.get("/buyers/{sku}")
async def buyers(sku: int) -> list[str]:
    """Who ordered a product last, for its page."""
    statement = SLOW_BUYERS if SWITCHES.on("slow_page_server") else BUYERS
    async with engine.connect() as connection:
        rows = await connection.execute(statement, {"sku": sku})
        return [buyer for buyer in rows.scalars() if buyer]


async def pay(delay_s: float, number: int) -> None:
    """One of two overlapping calls."""
    await payments.post(PAYMENTS + "/pay", json={"order": number, "amount": 1, "delay_s": delay_s})


@app.post("/checkout")
async def checkout(cart: Cart) -> dict[str, int]:
    """Store the order, have it paid, and queue the mail."""
    if SWITCHES.on("pool_leak"):
        leaked.append(await engine.connect())  # the fault: never given back
    elif leaked:
        await give_back()
    async with engine.begin() as connection:
        row = await connection.execute(
            text("INSERT INTO orders (buyer, sku) VALUES (:buyer, :sku) RETURNING id"),
            {"buyer": cart.user, "sku": cart.skus[0]},
        )
        order = int(row.scalar_one())
        if SWITCHES.on("hold_across_call"):
            await charge(order, len(cart.skus))
    if not SWITCHES.on("hold_across_call"):
        await charge(order, len(cart.skus))
    # After the commit: nobody gets mail for an order that was rolled back.
    mail(order)
    return {"order": order}


async def charge(order: int, items: int) -> None:
    """Have payments take the money; once more when it failed for a moment."""
    response = await payments.post(PAYMENTS + "/pay", json={"order": order, "amount": items})
    if response.status_code >= 500 and SWITCHES.on("retry"):
        await asyncio.sleep(0.05)
        response = await payments.post(PAYMENTS + "/pay", json={"order": order, "amount": items, "again": True})
    response.raise_for_status()


async def give_back() -> None:
    """The leak is over."""
    while leaked:
        await leaked.pop().close()


@app.post("/repair")
async def repair() -> dict[str, int]:
    """What an operator does after a leak: give everything back at once."""
    count = len(leaked)
    await give_back()
    return {"given_back": count}


@app.get("/report")
async def report() -> list[dict[str, Any]]:
    """Sales by product."""
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(REPORT)).mappings()]


def main() -> None:
    """Run the service."""
    global engine, mail, PAYMENTS
    PAYMENTS = required("PAYMENTS_URL")
    firstcause.configure(service="orders", app=app)
    engine = create_async_engine(
        # Who finds no connection within 2 s fails here, where it can be explained; gateway gives up after 5 s.
        required("DATABASE_URL"), pool_size=5, max_overflow=0, pool_timeout=2, pool_logging_name="orders"
    )
    _queue, mail = make_queue(required("QUEUE_URL"))
    host, port = listening(), int(required("PORT"))
    uvicorn.run(app, host=host, port=port, access_log=False, log_level="warning", loop="asyncio")


if __name__ == "__main__":
    main()
