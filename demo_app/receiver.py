"""What Alertmanager sends, as the on-call person gets it: kept in order, told as text, stored as JSON."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from firstcause_alerts import notification

from .settings import listening, required

PAGE, HEARTBEAT = "page", "heartbeat"
_CAUSE = re.compile(r"  \d+ % (\S+) (\S+?):?(?: |$)")


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification: when it arrived (`time.monotonic`), below which path, and its payload."""

    at: float
    kind: str
    payload: dict[str, Any]

    @property
    def group(self) -> str:
        """Alertmanager's name for what belongs together."""
        return str(self.payload["groupKey"])

    @property
    def firing(self) -> bool:
        """Whether something is still wrong."""
        return bool(self.payload["status"] == "firing")

    @property
    def state(self) -> str:
        """`Page`, `Recovering`, `Resolved`…"""
        return notification.state(self.payload)

    @property
    def text(self) -> str:
        """As it is read."""
        return notification.render(self.payload)

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Service and cause of each line of the first alert, as read from the text: the first is who is blamed."""
        _title, _, alerts = self.text.partition("\n\n")
        found = map(_CAUSE.match, alerts.partition("\n\n")[0].splitlines())
        return [(line[1], line[2]) for line in found if line]


def pages(notices: Iterable[Notice]) -> list[Notice]:
    """The notices that began a page: one for each time that a group started to fire."""
    found, open_now = [], set[str]()
    for notice in notices:
        if notice.kind != PAGE:
            continue
        if notice.firing and notice.group not in open_now:
            found.append(notice)
        (open_now.add if notice.firing else open_now.discard)(notice.group)
    return found


def unresolved(notices: Iterable[Notice]) -> set[str]:
    """Groups whose last word was that something is wrong."""
    last = {notice.group: notice.firing for notice in notices if notice.kind == PAGE}
    return {group for group, firing in last.items() if firing}


class Receiver:
    """Listens on loopback; `notices` grows as they arrive, `tell` is called with each that a person would get."""

    def __init__(
        self,
        keep: Path | None = None,
        tell: Callable[[Notice], None] = lambda _notice: None,
        address: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.notices: list[Notice] = []
        self._keep, self._tell, self._lock = keep, tell, threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                # Before the answer: Alertmanager sends again what was not accepted.
                receiver._take(self.path.strip("/"), json.loads(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                """For a health check."""
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(address, Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="receiver", daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, kind: str, payload: dict[str, Any]) -> None:
        with self._lock:
            notice = Notice(time.monotonic(), kind, payload)
            self.notices.append(notice)
            # It comes all the time, to say that the chain is alive; nobody reads it.
            if kind == HEARTBEAT:
                return
            if self._keep is not None:
                name = f"{len(self.notices):04d}-{notice.state.lower()}.json"
                (self._keep / name).write_text(json.dumps(payload, indent=1) + "\n")
            self._tell(notice)

    def since(self, at: float) -> list[Notice]:
        """What arrived from then on (`time.monotonic`)."""
        return [notice for notice in list(self.notices) if notice.at >= at]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def main() -> None:
    """Print every notification, until it is killed."""
    Receiver(tell=lambda notice: print(notice.text, flush=True), address=(listening(), int(required("PORT"))))
    threading.Event().wait()


if __name__ == "__main__":
    main()
