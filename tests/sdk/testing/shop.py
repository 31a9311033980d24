"""Ordinary services on SQLite to be captured: FastAPI async, Flask sync; both ask once per item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from flask import Flask
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

ITEMS = text("SELECT id FROM items WHERE order_id = 7")
ITEM = text("SELECT name FROM items WHERE id = :id")


def fill(path: Path) -> None:
    """Three items of one order."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE items (id INTEGER, order_id INTEGER, name TEXT)"))
        connection.execute(text("INSERT INTO items VALUES (1, 7, 'tea'), (2, 7, 'jam'), (3, 7, 'oats')"))
    engine.dispose()


def fastapi_shop(path: Path) -> FastAPI:
    """`GET /orders/{order_id}` asks once for the order and once per item."""
    app = FastAPI()
    engine: AsyncEngine = create_async_engine(f"sqlite+aiosqlite:///{path}")

    @app.get("/orders/{order_id}")
    async def order(order_id: int) -> list[str]:
        async with engine.connect() as connection:
            ids = (await connection.execute(ITEMS)).scalars().all()
            return [(await connection.execute(ITEM, {"id": id_})).scalar_one() for id_ in ids]

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("no tea")

    app.state.engine = engine
    return app


def flask_shop(path: Path) -> Flask:
    """The same, sync."""
    app = Flask("shop")
    engine: Engine = create_engine(f"sqlite:///{path}")

    @app.get("/orders/<int:order_id>")
    def order(order_id: int) -> Any:
        with engine.connect() as connection:
            ids = connection.execute(ITEMS).scalars().all()
            return [connection.execute(ITEM, {"id": id_}).scalar_one() for id_ in ids]

    app.extensions["engine"] = engine
    return app
