"""gateway: the edge. Pages and JSON for users, sessions and carts in the cache, everything else from orders."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from typing import Annotated, Any

import anyio
import httpx
import redis.asyncio
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import HTMLResponse
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import firstcause

from . import pages
from .settings import listening, required
from .switches import SWITCHES

log = firstcause.get_logger()
app = FastAPI(title="gateway")
orders = httpx.AsyncClient(timeout=float(os.environ.get("ORDERS_TIMEOUT_S", "5")))
cache: Any = None
ORDERS = ""
PRODUCTS = 60

PAGE = "<!doctype html><title>shop</title><h1>A shop worth observing</h1><p>See /catalogue, /products/1.</p>"


@app.get("/", response_class=HTMLResponse)
async def home() -> str:
    """The front page."""
    return PAGE


@app.get("/health")
async def health() -> dict[str, str]:
    """For the supervisor."""
    return {"status": "ok"}


@app.get("/catalogue")
async def catalogue() -> Any:
    """All products; kept in the cache for two seconds."""
    known = await cache.get("catalogue:all")
    if known is not None:
        return json.loads(known)
    products = await call("GET", "/products")
    await cache.set("catalogue:all", json.dumps(products), ex=2)
    return products


@app.get("/products/{sku}")
async def product(sku: int) -> Any:
    """One product with its stock."""
    if SWITCHES.on("loop_blocked") and sku % 10 == 0:
        time.sleep(0.6)  # noqa: ASYNC251 - the fault: a blocking call in an async handler
    if SWITCHES.on("busy_loop") and sku % 12 == 0:
        busy_until = time.perf_counter() + 0.6
        while time.perf_counter() < busy_until:
            pass
    if SWITCHES.on("exception") and sku % 3 == 0:
        prices: dict[str, int] = {}
        return {"sku": sku, "price": prices["price"]}
    if SWITCHES.on("unknown_thread"):
        await anyio.to_thread.run_sync(sleep_in_a_thread)
    return await call("GET", f"/stock/{sku}")


def sleep_in_a_thread() -> None:
    """Own code in a raw thread that nothing instruments."""
    sleeper = threading.Thread(target=time.sleep, args=(0.7,))
    sleeper.start()
    sleeper.join()


@app.post("/login")
async def login(user: str) -> dict[str, str]:
    """Make a session."""
    # Not of `random`: whoever guesses a token has the cart.
    token = secrets.token_hex(8)
    await cache.set(f"session:{token}", user, ex=3600)
    # Logs and traces get keyed hashes of both, never the values.
    firstcause.identify(user=user, session=token)
    return {"session": token}


async def user_of(session: str) -> str:
    """Whose session it is."""
    user = await cache.get(f"session:{session}")
    if user is None:
        raise HTTPException(401, "log in first")
    firstcause.identify(user=user.decode(), session=session)
    return str(user.decode())


@app.post("/cart")
async def add_to_cart(sku: int, x_session: Annotated[str, Header()]) -> dict[str, int]:
    """Put a product into the cart."""
    user = await user_of(x_session)
    await cache.rpush(f"cart:{user}", sku)
    return {"items": await cache.llen(f"cart:{user}")}


@app.post("/checkout")
async def checkout(x_session: Annotated[str, Header()]) -> Any:
    """Order what is in the cart."""
    user = await user_of(x_session)
    items = await cache.lrange(f"cart:{user}", 0, 20)
    # Another checkout of the same user may just have emptied it; this one still orders something.
    order = await call("POST", "/checkout", json={"user": user, "skus": [int(i) for i in items] or [1]})
    await cache.delete(f"cart:{user}")
    log.info("order placed", order_id=order["order"])
    return order


@app.get("/report")
async def report() -> Any:
    """Sales by product."""
    return await call("GET", "/report")


async def call(method: str, path: str, **options: Any) -> Any:
    """Ask orders; its errors are ours."""
    if SWITCHES.on("timeout"):
        options["timeout"] = 0.4
    response = await orders.request(method, ORDERS + path, **options)
    response.raise_for_status()
    return response.json()


app.include_router(pages.router(catalogue, call))


def main() -> None:
    """Run the service."""
    global cache, ORDERS
    ORDERS = required("ORDERS_URL")
    cache = redis.asyncio.from_url(
        # redis-py's own limit is 100 connections, and beyond it raises instead of waiting.
        required("REDIS_URL"), client_name="cache", socket_timeout=2, max_connections=2000,
        # Once more at once: a connection from before Redis was restarted is no reason to fail.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )  # fmt: skip
    firstcause.configure(service="gateway", app=app)
    host, port = listening(), int(required("PORT"))
    # The SDK writes a line per request, with more in it than an access log has.
    uvicorn.run(app, host=host, port=port, access_log=False, log_level="warning", loop="asyncio")


if __name__ == "__main__":
    main()
