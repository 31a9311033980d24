"""How bodies travel, and that the page is none the worse for it."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from tests.rum.beacon.browser import Browser, Tab
from tests.rum.beacon.site import GENERATED, TAG, Site

pytestmark = pytest.mark.e2e

POLICY = "default-src 'none'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'; script-src "


def options(path: str = "", **more: str) -> str:
    """The script tag with other options."""
    given = "".join(f" data-{name}='{value}'" for name, value in {"path": path, **more}.items() if value)
    return TAG.replace(" data-app", given + " data-app")


def test_another_origin_needs_no_preflight(site: Site, tab: Tab) -> None:
    """Bodies go to another origin as simple requests, while the page is open and when it is left."""
    site.answers = [(204, {"Access-Control-Allow-Origin": site.url}, b"")] * 9
    tab.go(site.page("/", head=options(f"{site.other}/_neutral")))
    site.wait(site.views)
    tab.run("(firstcause.error(new Error('leaving')), 1)")
    tab.hide()
    site.item("err", msg="leaving")
    posts = [(path, headers["Host"]) for method, path, headers, _ in site.requests if method == "POST"]
    assert {("/_neutral", site.other.removeprefix("http://"))} == set(posts)
    assert not [method for method, *_ in site.requests if method == "OPTIONS"]


def test_a_refused_body_goes_again_once(site: Site, tab: Tab) -> None:
    """429 and 5xx are answered by one retry after the time asked for: same view, same number, same items.

    What is given up then is counted, and so is what it would have told of other losses.
    """
    site.answers = [(503, {"Retry-After": "0.1"}, b""), (429, {"Retry-After": "0.1"}, b"")]
    noise = "<script>dispatchEvent(new ErrorEvent('error', {message: 'ResizeObserver loop limit'}))</script>"
    tab.go(site.page("/", head=options(every="200") + noise))
    site.wait(lambda: len([1 for method, *_ in site.requests if method == "POST"]) == 2)
    # One body after another: that the next has come says that the refusal has arrived, and the one after tells of it.
    for words in ("next", "last"):
        tab.run(f"(firstcause.error(new Error('{words}')), 1)")
        site.item("err", msg=words)
    first, again = [json.loads(body) for method, _, _, body in site.requests if method == "POST"][:2]
    assert [first[key] for key in ("id", "seq", "items")] == [again[key] for key in ("id", "seq", "items")]
    assert first["sent"] < again["sent"]
    assert {"noise": 1} == first["lost"]
    assert (len(first["items"]), 1) == (lost(site, "unsent"), lost(site, "noise"))


def lost(site: Site, reason: str) -> int:
    """What the bodies that arrived count under a reason."""
    return sum(body.get("lost", {}).get(reason, 0) for body in site.bodies)


def test_a_rejected_body_does_not_go_again(site: Site, tab: Tab) -> None:
    """400 and 413 are final."""
    site.answers = [(400, {}, b"")]
    tab.go(site.page("/", head=options(every="100")))
    site.wait(lambda: [1 for method, *_ in site.requests if method == "POST"])
    tab.run("(firstcause.error(new Error('next')), 1)")
    site.item("err", msg="next")
    assert 1 == site.bodies[0]["seq"]


def test_large_bodies_are_split(site: Site, tab: Tab) -> None:
    """No body is over 60,000 bytes or 100 items, counted in bytes and not in characters; nothing is lost on the way out."""
    tab.go(site.page("/", head=options(every="60000")))
    site.wait(site.views)
    tab.run(
        "[...Array(20).keys()].forEach(n => firstcause.error(Object.assign(new Error('error ' + n), {stack: '€'.repeat(2900) + n})))"
    )
    tab.run("Promise.all([...Array(95).keys()].map(n => fetch('/x/' + n).then(r => r.text()))).then(() => 1)")
    # More than one `sendBeacon` may hold at once: what it refuses waits for the next occasion.
    tab.hide()
    site.item("err", msg="error 0")
    tab.show()
    site.wait(lambda: len(site.items("err")) == 20 and len(site.items("req")) == 95)
    posts = [body for method, _, _, body in site.requests if method == "POST"]
    assert all(len(body) <= 60_000 for body in posts)
    assert all(1 <= len(body["items"]) <= 100 for body in site.bodies)
    assert sorted(body["seq"] for body in site.bodies) == list(range(len(site.bodies)))


def test_a_blocked_endpoint_does_no_harm(site: Site, tab: Tab) -> None:
    """Nothing listens: the page gets no error, its own requests work, and after a few tries there is peace."""
    tab("Network.enable")
    tab.go(
        site.page(
            "/",
            head=options("http://127.0.0.1:9/_fc", every="50")
            + "<script>bad = []; onerror = onunhandledrejection = (e) => bad.push(String(e))</script>",
        )
    )
    since = tab.browser.seen()
    tab.run("setInterval(() => firstcause.error(new Error(Math.random())), 20)")
    tab.browser.event(tab.session, "Network.loadingFailed", since)
    assert 200 == tab.run("fetch('/').then(r => r.status)")
    tab.hide()
    tab.show()
    assert [] == tab.run("bad")
    assert [] == site.bodies


def test_it_gives_up_on_an_endpoint_that_is_down(site: Site, tab: Tab) -> None:
    """After four failures in a row the page is left alone."""
    site.answers = [(503, {"Retry-After": "0.01"}, b"")] * 99
    tab.go(site.page("/", head=options(every="20")))
    tab.run("(globalThis.busy = setInterval(() => firstcause.view(), 10), 1)")
    site.wait(lambda: len([1 for method, *_ in site.requests if method == "POST"]) == 4)
    tab.run("new Promise(done => setTimeout(done, 300)).then(() => clearInterval(busy))")
    assert 4 == len([1 for method, *_ in site.requests if method == "POST"])


@pytest.mark.parametrize("by", ["nonce", "integrity"])
def test_a_strict_policy(site: Site, tab: Tab, by: str) -> None:
    """Runs under a policy that allows this script only, by nonce or by its published hash, and under Trusted Types."""
    digest = base64.b64encode(hashlib.sha384((GENERATED / "fc.js").read_bytes()).digest()).decode()
    proof = {"nonce": "nonce=n0 ", "integrity": f"integrity=sha384-{digest} "}[by]
    source = {"nonce": "'nonce-n0'", "integrity": f"'sha384-{digest}'"}[by]
    tab("Runtime.enable")
    since = tab.browser.seen()
    tab.go(site.page("/", head=TAG.replace("data-app", proof + "data-app"), Content_Security_Policy=POLICY + source))
    tab.run("(firstcause.error(new Error('told')), 1)")
    site.item("vital", name="LCP")
    tab.hide()
    site.item("err", msg="told")
    assert not [e for e in tab.browser._events[since:] if e["method"] == "Runtime.exceptionThrown"]
    assert not [e for e in tab.browser._events[since:] if "ontent Security Policy" in str(e)]


def test_no_cookie_and_no_storage(site: Site, tab: Tab) -> None:
    """Without consent to storage nothing is written anywhere; no body holds a wall-clock time."""
    tab.go(site.page("/"))
    site.item("vital", name="LCP")
    tab.hide()
    kept = "[document.cookie, localStorage.length, sessionStorage.length]"
    assert ["", 0, 0] == tab.run(kept)
    assert [] == tab.run("indexedDB.databases()")
    assert not [value for body in site.bodies for value in _numbers(body) if value > 1e9]


def test_the_mark_is_sent_back_unread(site: Site, tab: Tab) -> None:
    """What the server said of its trace goes along, unless the document came from a cache."""
    tp = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    timing = f'db;dur=3, traceparent;desc="{tp}", fcmark;desc="1764000000.0123456789abcdef"'
    tab.go(site.page("/", Server_Timing=timing, Cache_Control="max-age=60"))
    site.wait(site.views)
    assert (tp, "1764000000.0123456789abcdef") == (site.bodies[0]["tp"], site.bodies[0]["mark"])
    tab.go(site.page("/blank", head=""))
    tab.run(f"(location = '{site.url}/', 1)")
    site.wait(lambda: len(site.views()) == 2)
    assert ["/", "/blank"] == [path for method, path, *_ in site.requests if path in ("/", "/blank")]
    assert "tp" not in site.bodies[-1]


def test_a_driven_browser_says_so(site: Site) -> None:
    """`navigator.webdriver` marks the visit as a test."""
    driven = Browser(driven=True)
    try:
        with driven.tab() as tab:
            tab.go(site.page("/"))
            assert tab.run("navigator.webdriver")
            site.wait(site.views)
    finally:
        driven.close()
    assert 1 == site.bodies[0]["wd"]


def test_as_a_module(site: Site, tab: Tab) -> None:
    """The module for bundlers does the same, with its options as arguments."""
    code = "import {start, route, error} from '/index.mjs'; start({app: 'shop', path: '/_m', route: () => 'home'}); error(new Error('x'))"
    tab.go(site.page("/", head=f"<script type=module>{code}</script>"))
    tab.hide()
    site.item("err", msg="x")
    assert ("shop", "home") == (site.bodies[0]["app"], site.bodies[0]["route"])


def _numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for part in value for number in _numbers(part)]
    return [value] if isinstance(value, int | float) else []
