"""The shop's pages, as a browser and as a synthetic one see them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import firstcause
from demo_app import pages
from demo_app.alerting import wait
from demo_app.relay import Relay
from demo_app.switches import Switches, write
from demo_app.synthetic import Synthetic
from firstcause.testing import Capture
from firstcause_rum import Config
from firstcause_rum.asgi import Endpoint
from tests.rum.endpoint.servers import asgi


async def catalogue() -> list[dict[str, Any]]:
    return [{"sku": 1, "name": "<one>", "price": 250}]


async def call(method: str, path: str, **_: Any) -> Any:
    return ["ada"] if path.startswith("/buyers/") else {"sku": 7, "stock": 3}


@pytest.fixture(name="switches")
def _switches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "switches.json"
    monkeypatch.setattr(pages, "SWITCHES", Switches(str(path)))
    return path


@pytest.fixture(name="shop")
def _shop() -> FastAPI:
    app = FastAPI()
    app.include_router(pages.router(catalogue, call))

    @app.post("/login")
    @app.post("/cart")
    @app.post("/checkout")
    def done() -> dict[str, str]:
        return {"session": "s", "order": "1"}

    return app


def test_pages_are_html_and_name_their_route(shop: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """The beacon's tag says endpoint, release and the route that the server calls it; names are escaped."""
    monkeypatch.setenv("RUM_URL", "http://127.0.0.1:9")
    client = TestClient(shop)
    front, product = client.get("/shop").text, client.get("/shop/products/7").text
    assert "&lt;one&gt;" in front
    assert 'data-route="/shop"' in front
    assert 'data-route="/shop/products/{sku}"' in product
    assert "3 in stock, last bought by ada" in product
    assert '<script src="http://127.0.0.1:9/_fc.js" defer data-path="http://127.0.0.1:9/_fc"' in product


def test_without_an_endpoint_there_is_no_beacon(shop: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """One service alone still has its pages."""
    monkeypatch.delenv("RUM_URL", raising=False)
    assert "_fc" not in TestClient(shop).get("/shop").text


def test_an_image_is_a_picture_of_noise(shop: FastAPI, switches: Path) -> None:
    """A grey PNG of the size that the page says, the same however slowly it comes."""
    found = TestClient(shop).get("/shop/images/7.png").content
    assert (pages.WIDTH, pages.HEIGHT) == struct.unpack(">II", found[16:24])
    data = found[found.index(b"IDAT") + 4 : found.index(b"IEND") - 8]
    assert (pages.WIDTH + 1) * pages.HEIGHT == len(zlib.decompress(data))
    assert found != TestClient(shop).get("/shop/images/8.png").content


def test_faults_are_in_what_the_browser_gets(shop: FastAPI, switches: Path) -> None:
    """Another release with a script that throws; a script that computes in the head; none of it while nothing is on."""
    client = TestClient(shop)
    assert pages.SHOP == client.get("/shop/shop.js").text
    assert pages.PRICES not in client.get("/shop").text
    write(str(switches), {"release_throws", "heavy_script"})
    page = client.get("/shop").text
    assert "/shop/shop.js?release=1.0.1" in page
    assert client.get("/shop/shop.js?release=1.0.1").text.endswith(pages.BROKEN_SHOP)
    assert pages.PRICES in page


@pytest.fixture(name="served")
def _served(shop: FastAPI, switches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Capture]]:
    """The shop and, at another origin, the endpoint."""
    monkeypatch.setattr(pages, "IMAGE_S", 0.2)
    with Capture() as seen:
        firstcause.configure("gateway", app=shop)
        with asgi(shop) as port:
            url = f"http://127.0.0.1:{port}"
            endpoint = Endpoint(Config(origins=(url,), count_tests=True, settle_s=0.0, settle_late_s=0.0))
            with asgi(endpoint) as other:
                monkeypatch.setenv("RUM_URL", f"http://127.0.0.1:{other}")
                yield url, seen


@pytest.mark.parts
def test_a_synthetic_browser_is_joined_with_the_servers_trace(served: tuple[str, Capture]) -> None:
    """Its view is counted under its route and region, and the order's requests go on with the trace of the page."""
    url, seen = served
    Synthetic("America/Sao_Paulo").visit(url, "/shop/checkout")
    Synthetic("Europe/Berlin").visit(url, "/shop/products/7")
    assert 1 == seen.metric("firstcause.page.views", page_route="/shop/checkout", joined="true", release="1.0.0")
    assert wait(lambda: seen.metric("firstcause.page.lcp.region", region="south-america"), 30)
    assert wait(lambda: seen.metric("firstcause.page.lcp.region", region="europe", page_route="/shop/products/{sku}"), 30)
    traces = {span.name: span.context.trace_id for span in seen.spans}
    assert traces["GET /shop/checkout"] == traces["POST /checkout"]
    assert [] == [
        drop for drop in ("invalid", "impossible", "unsigned") if seen.metric("firstcause.rum.dropped", drop=drop)
    ]


@pytest.mark.parts
def test_a_synthetic_browser_sees_errors_and_slow_lines(served: tuple[str, Capture], switches: Path) -> None:
    """A release that throws is an error of it; a relay's delay is the network's."""
    url, seen = served
    write(str(switches), {"release_throws"})
    relay = Relay()
    relay.start()
    relay.delay_s = 1.3
    Synthetic("America/Sao_Paulo", relay).visit(url, "/shop")
    relay.close()
    assert 1 == seen.metric("firstcause.page.errors", release="1.0.1", page_route="/shop")
    assert wait(lambda: seen.metric("firstcause.page.blame", part="network"), 30)
    network = seen.metric("firstcause.page.blame", part="network")
    assert network >= 2.6
