"""A real headless Chromium, driven over its debugging pipe: no port, no library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

PATIENCE_S = 12.0
"""Seconds until an answer or event is given up; on an idle machine each takes milliseconds."""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--remote-debugging-pipe", "--disable-dev-shm-usage",
)  # fmt: skip

Message = dict[str, Any]


def chromium() -> str | None:
    """The browser's path; None when none is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One process; each tab lives in a profile of its own, so that tests share no cache and no storage.

    `driven` browsers say so in `navigator.webdriver`; the others look like a user's.
    """

    def __init__(self, driven: bool = False) -> None:
        path = chromium()
        flags = [] if driven else ["--disable-blink-features=AutomationControlled"]
        assert path is not None
        self.profile = tempfile.mkdtemp(prefix="fc-browser-")
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()

        def ends() -> None:
            # Chromium reads commands from descriptor 3 and writes to 4; above 9 none of ours is overwritten.
            high = [os.dup(end) for end in (reads, writes)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={self.profile}", *flags, "about:blank"],
            preexec_fn=ends,  # noqa: PLW1509 - between fork and exec it only duplicates descriptors
            pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        self._number = 0
        self._answers: dict[int, Message] = {}
        self._events: list[Message] = []
        self._news = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with os.fdopen(self._from, "rb") as pipe:
            rest = b""
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
            os.write(self._to, json.dumps(message).encode() + b"\0")
            assert self._news.wait_for(lambda: number in self._answers, PATIENCE_S), f"no answer to {method}"
            answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

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
        try:
            yield Tab(self, context)
        finally:
            with suppress(RuntimeError):
                self.call("Target.disposeBrowserContext", browserContextId=context)

    def close(self) -> None:
        """End the process and remove what it wrote."""
        with suppress(OSError, AssertionError, RuntimeError):
            self.call("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._to)
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
        """A trusted click at a point."""
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def hide(self) -> None:
        """Bring another tab of the same window to the front."""
        self.browser.call("Target.createTarget", url="about:blank", browserContextId=self.context)

    def show(self) -> None:
        """Back to the front."""
        self.browser.call("Target.activateTarget", targetId=self.target)

    def close(self) -> None:
        """As the user closes it: with all its events."""
        self("Page.close")
