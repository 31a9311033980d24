"""What a browser gets of the shop: real HTML, with an image, a script, and the beacon of the RUM endpoint.

The faults here are what users' browsers see and services do not: they hurt while every request is fine.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from .switches import SWITCHES

RELEASE, NEXT_RELEASE = "1.0.0", "1.0.1"
# Both are longer than the 2.5 s from which on a page counts as slow.
BUSY_MS, IMAGE_S, PIECES = 2800, 2.7, 9
"""How long the heavy script computes; how long the slow image takes, and in how many pieces it comes."""
WIDTH, HEIGHT = 320, 240
Call = Callable[..., Awaitable[Any]]

# The empty icon keeps browsers from asking for /favicon.ico, which the shop does not have.
PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><link rel=icon href="data:,">
{beacon}{more}<h1>{title}</h1>
{content}
<script src="/shop/shop.js?release={release}" defer></script>"""
"""The script last, so that it does not take the image's place on the page's connection."""
# Deferred scripts run in the page's order: the beacon listens before shop.js can throw.
BEACON = """<script src="{endpoint}/_fc.js" defer data-path="{endpoint}/_fc" data-app=shop data-every=250
 data-release="{release}" data-route="{route}"></script>
"""
"""It tells every quarter of a second: a minute of the alert rules lasts a second here."""
CHECKOUT = """<p>One product in the cart.</p><button>Order</button><p id=order></p>"""

PRICES = '<script src="/shop/prices.js"></script>'
"""The fault: somebody put this into the head, and nothing is drawn while it computes."""
BUSY = f"const until = performance.now() + {BUSY_MS};\nwhile (performance.now() < until) Math.random();\n"
SHOP = """const post = (path, headers = {}) => fetch(path, { method: "POST", headers }).then((answer) => answer.json());
const order = async () => {
  const { session } = await post("/login?user=visitor");
  await post("/cart?sku=1", { "X-Session": session });
  return (await post("/checkout", { "X-Session": session })).order;
};
window.ordered = new Promise((done) => {
  document.querySelector("button")?.addEventListener("click", async () => {
    const number = await order();
    document.getElementById("order").textContent = `Order ${number}`;
    done(number);
  });
});
"""
BROKEN_SHOP = "window.recommended = window.basket.items.length;\n"
"""The fault: nobody has filled the basket, so this throws."""


def page(title: str, route: str, content: str) -> str:
    """A whole page; the beacon is there when `RUM_URL` says where its endpoint is."""
    release = NEXT_RELEASE if SWITCHES.on("release_throws") else RELEASE
    endpoint = os.environ.get("RUM_URL", "")
    beacon = BEACON.format(endpoint=escape(endpoint), release=release, route=escape(route)) if endpoint else ""
    more = PRICES if SWITCHES.on("heavy_script") else ""
    return PAGE.format(title=escape(title), beacon=beacon, release=release, more=more, content=content)


def router(catalogue: Call, call: Call) -> APIRouter:
    """The pages; `catalogue` is the list of products, `call` asks orders."""
    pages = APIRouter(default_response_class=HTMLResponse)

    @pages.get("/shop")
    async def front() -> str:
        rows = [
            f'<li><a href="/shop/products/{product["sku"]}">{escape(product["name"])}</a> {product["price"] / 100:.2f}'
            for product in await catalogue()
        ]
        return page("A shop worth observing", "/shop", f"<ul>{''.join(rows)}</ul>")

    @pages.get("/shop/products/{sku}")
    async def product(sku: int) -> str:
        found, buyers = await call("GET", f"/stock/{sku}"), await call("GET", f"/buyers/{sku}")
        image = f'<img src="/shop/images/{sku}.png" width={WIDTH} height={HEIGHT} alt="">'
        said = f"<p>{found['stock']} in stock, last bought by {escape(', '.join(buyers) or 'nobody')}</p>"
        return page(f"Product {sku}", "/shop/products/{sku}", image + said)

    @pages.get("/shop/checkout")
    async def checkout() -> str:
        return page("Checkout", "/shop/checkout", CHECKOUT)

    @pages.get("/shop/images/{sku}.png")
    async def image(sku: int) -> Response:
        # As many pictures as `png` remembers: numbers that strangers make up cost no memory.
        whole = png(sku % 100)
        if SWITCHES.on("slow_image"):
            # A body without a length is judged by its first byte, as all streams are: to the server nothing is slow.
            return StreamingResponse(dripping(whole), media_type="image/png")
        return Response(whole, media_type="image/png")

    @pages.get("/shop/prices.js")
    async def prices() -> Response:
        return Response(BUSY, media_type="text/javascript")

    @pages.get("/shop/shop.js")
    async def script(release: str = RELEASE) -> Response:
        return Response(SHOP + BROKEN_SHOP * (release == NEXT_RELEASE), media_type="text/javascript")

    return pages


async def dripping(whole: bytes) -> AsyncIterator[bytes]:
    """The fault: an image that comes in pieces, with pauses."""
    size = len(whole) // PIECES + 1
    for start in range(0, len(whole), size):
        yield whole[start : start + size]
        await asyncio.sleep(IMAGE_S / PIECES)


@lru_cache(maxsize=100)
def png(number: int) -> bytes:
    """A picture for each number: grey noise, since browsers take no plain area for a page's largest content."""
    noise = random.Random(number)
    rows = b"".join(b"\0" + noise.randbytes(WIDTH) for _ in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    # The lowest level: noise does not get smaller by trying.
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
