"""A small server that answers as a Grafana 13 was documented to answer; it stores, and renders nothing.

Named as what it is: Grafana cannot be started here. Statuses and bodies follow Grafana's HTTP API documentation.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "glsa_recorded"
Answer = tuple[int, Any]


class RecordedGrafana:
    """Folders, dashboards and marks in memory; `asked` has every request as method and path."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.marks: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.provisioned: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """The answer to one request."""
        self.asked.append(f"{method} {path}")
        for (wanted, pattern), reply in _ROUTES.items():
            found = re.fullmatch(pattern, path)
            if wanted == method and found:
                return reply(self, body, *found.groups())
        return 404, {"message": "Not found"}


def _folder(grafana: RecordedGrafana, _body: Any, uid: str) -> Answer:
    title = grafana.folders.get(uid)
    return (200, {"uid": uid, "title": title}) if title else (404, {"message": "folder not found", "status": "not-found"})


def _make_folder(grafana: RecordedGrafana, body: Any) -> Answer:
    grafana.folders[body["uid"]] = body["title"]
    return 200, {"id": 1, **body}


def _dashboard(grafana: RecordedGrafana, _body: Any, uid: str) -> Answer:
    model = grafana.dashboards.get(uid)
    return (200, {"dashboard": model, "meta": {}}) if model else (404, {"message": "Dashboard not found"})


def _store(grafana: RecordedGrafana, body: Any) -> Answer:
    model, uid = body["dashboard"], body["dashboard"]["uid"]
    if uid in grafana.provisioned:
        return 400, {"message": "Cannot save provisioned dashboard", "status": "error"}
    if body["folderUid"] not in grafana.folders:
        return 404, {"message": "folder not found"}
    version = grafana.dashboards.get(uid, {}).get("version", 0) + 1
    grafana.dashboards[uid] = {**model, "id": len(uid), "version": version}
    return 200, {"id": len(uid), "uid": uid, "url": f"/d/{uid}/{uid}", "status": "success", "version": version}


def _mark(grafana: RecordedGrafana, body: Any) -> Answer:
    grafana.marks.append(body)
    return 200, {"message": "Annotation added", "id": len(grafana.marks)}


_ROUTES: dict[tuple[str, str], Callable[..., Answer]] = {
    ("GET", r"/api/folders/([\w-]+)"): _folder,
    ("POST", r"/api/folders"): _make_folder,
    ("GET", r"/api/dashboards/uid/([\w-]+)"): _dashboard,
    ("POST", r"/api/dashboards/db"): _store,
    ("POST", r"/api/annotations"): _mark,
}


def _handler(grafana: RecordedGrafana) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            known = self.headers.get("authorization") == f"Bearer {TOKEN}"
            status, said = grafana.answer(self.command, self.path, body) if known else (401, {"message": "Unauthorized"})
            text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _serve  # noqa: N815 – as the server calls them

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Handler
