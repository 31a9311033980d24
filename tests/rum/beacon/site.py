"""A small site on loopback that serves pages with the beacon and keeps what they post."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.rum.beacon.browser import PATIENCE_S

GENERATED = Path(__file__).parents[3] / "rum" / "beacon" / "generated"
TAG = '<script src="/fc.js" data-app="shop" data-release="1.4.2"></script>'
Body = dict[str, Any]
Answer = tuple[int, Mapping[str, str], bytes]


class Site:
    """Pages by path, and every request that came."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {
            "/fc.js": (200, {"Content-Type": "text/javascript"}, (GENERATED / "fc.js").read_bytes()),
            "/index.mjs": (200, {"Content-Type": "text/javascript"}, (GENERATED / "index.mjs").read_bytes()),
        }
        self.bodies: list[Body] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[Answer] = []
        self._news = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.other = f"http://localhost:{self.port}"
        """The same server under another origin."""

    def page(self, path: str, content: str = "", head: str = TAG, **headers: str) -> str:
        """Serve a page; its address."""
        html = f"<!doctype html><meta charset=utf-8><title>{path}</title>{head}<h1>{path}</h1>{content}"
        sent = {"Content-Type": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
        self.pages[path] = (200, sent, html.encode())
        return self.url + path

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What a request gets; posts to the beacon's paths are kept."""
        with self._news:
            self.requests.append((method, path, headers, body))
            if method == "POST" and path.startswith("/_"):
                answer = self.answers.pop(0) if self.answers else (204, {}, b"")
                if answer[0] == 204:
                    self.bodies.append(json.loads(body))
            else:
                answer = self.pages.get(path.partition("?")[0], (404, {}, b"no such page"))
            self._news.notify_all()
        return answer

    def wait(self, until: Callable[[], object], what: str = "") -> None:
        """Until something holds of what came."""
        with self._news:
            assert self._news.wait_for(until, PATIENCE_S), f"{what or 'not'} in {json.dumps(self.bodies, indent=1)}"

    def items(self, kind: str = "", /, **fields: object) -> list[Body]:
        """Items of all bodies, by kind and by fields."""
        every = (item for body in self.bodies for item in body["items"])
        return [i for i in every if kind in ("", i["k"]) and fields.items() <= i.items()]

    def item(self, kind: str, /, **fields: object) -> Body:
        """The last such item, awaited."""
        self.wait(lambda: self.items(kind, **fields), f"no {kind} {fields}")
        return self.items(kind, **fields)[-1]

    def views(self) -> list[tuple[str, str]]:
        """Navigation type and path of each counted page view."""
        counted = [body for body in self.bodies for item in body["items"] if item["k"] == "view"]
        return [(body["nav"], body["url"].removeprefix(self.url)) for body in counted]

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A browser that leaves in the middle of an answer is what these tests are about."""


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = site.answer(self.command, self.path, dict(self.headers), body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        do_GET = do_POST = do_OPTIONS = do_PUT = _serve  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    return Handler
