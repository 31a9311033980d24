"""Browsers where none is installed: they really fetch pages, scripts and images, time them, and send real beacons.

They draw nothing and run no script; what the shop's two faulty scripts would do they know by their text.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import time
from dataclasses import dataclass, field
from html import unescape
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from .pages import BROKEN_SHOP, BUSY, BUSY_MS
from .relay import GRANTED, GREETING, Relay

PATIENCE_S = 20.0
AGENT = "Mozilla/5.0 (X11; Linux x86_64) firstcause-demo"
# The beacon's script is at another origin and does not match: nothing here runs it.
_SCRIPT, _IMAGE = re.compile('<script src="(/[^"]+)"'), re.compile('<img src="([^"]+)"')
_DATA, _SAID = re.compile(r'data-(\w+)="?([^" >]+)'), re.compile('(traceparent|fcmark);desc="([^"]+)"')
_MEMBERS = {"traceparent": "tp", "fcmark": "mark"}
"""What a page's server says, and how a beacon calls it."""
Item = dict[str, Any]


class Synthetic:
    """A visitor in a time zone, perhaps behind a slow line."""

    def __init__(self, zone: str, relay: Relay | None = None) -> None:
        self._zone, self._relay = zone, relay

    def visit(self, url: str, path: str) -> None:
        """Load a page and what it needs, order at the checkout, tell the endpoint."""
        try:
            page = Page(url, path, self._relay)
            page.load()
            if path == "/shop/checkout":
                page.order()
            page.tell(self._zone)
        except HTTPException as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Nothing is kept open."""


class Line(HTTPConnection):
    """A connection, direct or through a relay; `connecting_ms` is what making it took."""

    def __init__(self, url: str, relay: Relay | None) -> None:
        to = urlsplit(url)
        super().__init__(to.hostname or "", to.port, timeout=PATIENCE_S)
        self._relay = relay
        self.connecting_ms = 0.0

    def connect(self) -> None:
        """Connect, by SOCKS5 where there is a relay."""
        began = time.perf_counter()
        if self._relay is None:
            super().connect()
        else:
            self.sock = socket.create_connection(("127.0.0.1", self._relay.port), PATIENCE_S)
            self._ask(b"\x05\x01\x00", len(GREETING))
            address = socket.inet_aton(self.host) + self.port.to_bytes(2, "big")
            self._ask(b"\x05\x01\x00\x01" + address, len(GRANTED))
        self.connecting_ms = since(began)

    def _ask(self, question: bytes, answer: int) -> None:
        self.sock.sendall(question)
        if len(self.sock.recv(answer)) < answer:
            raise ConnectionResetError("the relay hung up")


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, and the milliseconds until its head and from there to its end."""

    answer: HTTPResponse
    text: bytes
    head_ms: float
    body_ms: float


@dataclass(slots=True)
class Page:
    """One page view."""

    url: str
    path: str
    relay: Relay | None
    began: float = field(default_factory=time.perf_counter)
    head: dict[str, str] = field(default_factory=dict)
    """What the page's beacon tag and its server say."""
    items: list[Item] = field(default_factory=list)
    line: Line = field(init=False)

    def __post_init__(self) -> None:
        self.line = Line(self.url, self.relay)

    def load(self) -> None:
        """The page, its scripts and its image; when each came, and so when the largest of it was seen."""
        page = self.fetch("GET", self.path)
        text = unescape(page.text.decode())
        connecting = self.line.connecting_ms
        first_byte = connecting + page.head_ms
        self.head = dict(_DATA.findall(text))
        timing = page.answer.headers.get("server-timing", "")
        self.head |= {_MEMBERS[name]: said for name, said in _SAID.findall(timing)}
        self.add("view")
        self.add("load", tcp=connecting, req=page.head_ms, res=page.body_ms)
        computing = sum(map(self._script, _SCRIPT.findall(text)))
        image = sum(map(self._image, _IMAGE.findall(text)))
        drawn = page.body_ms + computing
        self.vital("TTFB", conn=connecting, req=page.head_ms)
        self.vital("FCP", ttfb=first_byte, rend=drawn)
        self.vital("LCP", ttfb=first_byte, delay=0.0, dur=image, rend=drawn, own=computing)

    def _script(self, path: str) -> float:
        text = self.fetch("GET", path).text.decode()
        if text.endswith(BROKEN_SHOP):
            self.add("err", kind="error", type="TypeError", msg="undefined has no items", fp="00000001", n=1)
        if text != BUSY:
            return 0.0
        # Not computed: for the page it is the same time, and the shop keeps its cores.
        time.sleep(BUSY_MS / 1e3)
        return float(BUSY_MS)

    def _image(self, path: str) -> float:
        image = self.fetch("GET", path)
        return image.head_ms + image.body_ms

    def order(self) -> None:
        """What the button does; the requests go on with the page's trace."""
        session = json.loads(self.post("/login?user=visitor").text)["session"]
        self.post("/cart?sku=1", session)
        self.post("/checkout", session)

    def post(self, path: str, session: str = "") -> Fetched:
        """A request as the beacon watches it."""
        trace, span = self.head.get("tp", f"00-{secrets.token_hex(16)}").split("-")[1], secrets.token_hex(8)
        done = self.fetch("POST", path, {"X-Session": session, "traceparent": f"00-{trace}-{span}-01"})
        url = self.url + path.partition("?")[0]
        self.add("req", how="fetch", m="POST", url=url, st=done.answer.status, ms=done.head_ms, tid=trace, sid=span)
        return done

    def fetch(self, method: str, path: str, headers: dict[str, str] | None = None) -> Fetched:
        """Ask over the page's connection, which is made with the first question."""
        if self.line.sock is None:
            self.line.connect()
        began = time.perf_counter()
        self.line.request(method, path, headers={"User-Agent": AGENT, "Accept": "text/html,*/*", **(headers or {})})
        answer = self.line.getresponse()
        head_ms, began = since(began), time.perf_counter()
        text = answer.read()
        return Fetched(answer, text, head_ms, since(began))

    def vital(self, name: str, **parts: float) -> None:
        """A vital whose parts sum to it; `own` is none of them."""
        value = sum(ms for part, ms in parts.items() if part != "own")
        self.add("vital", name=name, id=f"v1-{secrets.token_hex(6)}", val=value, dlt=value, at=parts)

    def add(self, kind: str, /, **said: Any) -> None:
        """An item of the beacon."""
        self.items.append({"k": kind, "t": since(self.began), **said})

    def tell(self, zone: str) -> None:
        """Post the beacon, where the page says."""
        self.line.close()
        to, head = self.head["path"], self.head
        known = {"tp": head.get("tp"), "mark": head.get("mark"), "rel": head["release"], "route": head["route"]}
        body = {
            "v": 1, "app": head["app"], "ses": secrets.token_hex(16), "id": secrets.token_hex(16), "seq": 0, "wd": 1,
            "sent": since(self.began), "url": self.url + self.path, "nav": "navigate", "dev": "desktop", "tz": zone,
            **{name: said for name, said in known.items() if said}, "items": self.items,
        }  # fmt: skip
        line = Line(to, self.relay)
        # As the beacon does: with application/json a browser would have to ask first (CORS preflight).
        headers = {"Content-Type": "text/plain;charset=UTF-8", "Origin": self.url, "User-Agent": AGENT}
        line.request("POST", urlsplit(to).path, json.dumps(body), headers)
        line.getresponse().read()
        line.close()


def since(began: float) -> float:
    """Milliseconds since `time.perf_counter` was `began`."""
    return (time.perf_counter() - began) * 1e3
