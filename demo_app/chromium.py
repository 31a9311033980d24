"""A real headless Chromium, driven over its debugging pipe: no port, no library. Visitors and tests use it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from .parts import dies_with_parent

PATIENCE_S = 12.0
"""Seconds until an answer or event is given up; on an idle machine each takes milliseconds."""
# As root it refuses to start with its sandbox, and /dev/shm of a container (64 MB) is too small for its pages.
# The others keep it from fetching what no page asked for.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--remote-debugging-pipe", "--disable-dev-shm-usage",
)  # fmt: skip
LAST = 19
"""The niceness of browsers beside a shop: its services come first."""

Message = dict[str, Any]
GONE: Message = {"method": ""}


def chromium() -> str | None:
    """The browser's path; None when none is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One process; each tab lives in a profile of its own, so that visits share no cache, storage or connection.

    `driven` browsers say so in `navigator.webdriver`; the others look like a user's. `zone` is the time zone it is in,
    `folder` where its profile is put, `cores` where it may run: there it gives way to everybody.
    """

    def __init__(
        self, *, driven: bool = False, zone: str = "", flags: Sequence[str] = (), folder: Path | None = None,
        cores: Collection[int] = (),
    ) -> None:  # fmt: skip
        path = chromium()
        assert path is not None
        self.profile = tempfile.mkdtemp(prefix="fc-browser-", dir=folder)
        hides = [] if driven else ["--disable-blink-features=AutomationControlled"]
        command = [path, *FLAGS, f"--user-data-dir={self.profile}", *hides, *flags, "about:blank"]
        self._start(command, {**os.environ, "TZ": zone} if zone else os.environ, cores)
        self._number = 0
        self._answers: dict[int, Message] = {}
        self._events: list[Message] = []
        self._news = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _start(self, command: Sequence[str], environ: Mapping[str, str], cores: Collection[int]) -> None:
        reads, to = os.pipe()
        self._to = os.fdopen(to, "wb", buffering=0)
        self._from, writes = os.pipe()
        ask = dies_with_parent(signal.SIGKILL)

        def ends() -> None:
            # Chromium reads commands from descriptor 3 and writes to 4: a copy there would be overwritten.
            high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (reads, writes)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)
            if cores:
                os.sched_setaffinity(0, cores)
                os.nice(LAST)
            ask()

        self.process = subprocess.Popen(
            # Not named here, 3 and 4 would be closed again after `ends`.
            command, env=environ, preexec_fn=ends, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(reads)
        # While we hold this end too the pipe never ends, and `_listen` would outlive the browser.
        os.close(writes)

    def _listen(self) -> None:
        with os.fdopen(self._from, "rb") as pipe:
            rest = b""
            # `read` would wait until that much has come; `read1` gives what there is.
            while piece := pipe.read1(1 << 16):
                *whole, rest = (rest + piece).split(b"\0")
                with self._news:
                    for message in map(json.loads, whole):
                        if "id" in message:
                            self._answers[message["id"]] = message
                        else:
                            self._events.append(message)
                    self._news.notify_all()

    def call(self, method: str, session: str = "", **parameters: Any) -> Message:
        """One command of the protocol and its result."""
        with self._news:
            self._number += 1
            number = self._number
            message = {"id": number, "method": method, "params": parameters}
            if session:
                message["sessionId"] = session
            self._to.write(json.dumps(message).encode() + b"\0")
            assert self._news.wait_for(lambda: number in self._answers, PATIENCE_S), f"no answer to {method}"
            answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return cast("Message", answer["result"])

    def event(self, session: str, method: str, since: int = 0) -> Message:
        """The first such event of a session after the `since`th of all."""

        def found() -> Message | None:
            return next(
                (e for e in self._events[since:] if e.get("sessionId") == session and e["method"] == method), None
            )

        with self._news:
            assert self._news.wait_for(found, PATIENCE_S), f"no {method}"
            event = found()
        assert event is not None
        return event

    def seen(self) -> int:
        """How many events there have been."""
        with self._news:
            return len(self._events)

    @contextmanager
    def tab(self) -> Iterator[Tab]:
        """A blank tab in a profile of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        tab = None
        try:
            tab = Tab(self, context)
            yield tab
        finally:
            with suppress(RuntimeError):
                self.call("Target.disposeBrowserContext", browserContextId=context)
            self._forget(tab.session if tab else "")

    def _forget(self, session: str) -> None:
        """A tab's events, once it is gone: whoever visits for hours keeps none. The others keep their numbers."""
        with self._news:
            self._events = [GONE if e.get("sessionId") == session else e for e in self._events]

    def close(self) -> None:
        """End the process and remove what it wrote."""
        with suppress(OSError, AssertionError, RuntimeError):
            self.call("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._to.close()
        shutil.rmtree(self.profile, ignore_errors=True)


class Tab:
    """One tab: go somewhere, run JavaScript, click, hide, close."""

    def __init__(self, browser: Browser, context: str) -> None:
        self.browser = browser
        self.context = context
        made = browser.call("Target.createTarget", url="about:blank", browserContextId=context)
        self.target = made["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)
        self.session = attached["sessionId"]
        self("Page.enable")

    def __call__(self, method: str, **parameters: Any) -> Message:
        """One command to this tab."""
        return self.browser.call(method, self.session, **parameters)

    def go(self, url: str, event: str = "Page.loadEventFired") -> None:
        """Load `url` and wait for its load event, or another."""
        self.after(lambda: self("Page.navigate", url=url), event)

    def after(self, act: Callable[[], object], event: str = "Page.loadEventFired") -> None:
        """Do something and wait for the event it brings."""
        since = self.browser.seen()
        act()
        self.browser.event(self.session, event, since)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        answer = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", str(answer)))
        return answer["result"].get("value")

    def click(self, x: int = 20, y: int = 20) -> None:
        """A trusted click at a point, held until a frame was painted, as a finger does.

        Without one the browser may time the press alone, and of that it does not tell the element.
        """
        where = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self("Input.dispatchMouseEvent", type="mousePressed", **where)
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self("Input.dispatchMouseEvent", type="mouseReleased", **where)

    def hide(self) -> None:
        """Bring another tab of the same window to the front."""
        self.browser.call("Target.createTarget", url="about:blank", browserContextId=self.context)

    def show(self) -> None:
        """Back to the front."""
        self.browser.call("Target.activateTarget", targetId=self.target)

    def close(self) -> None:
        """As the user closes it: with all its events."""
        self("Page.close")
