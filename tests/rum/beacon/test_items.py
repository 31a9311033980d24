"""What a page view says about itself."""

from __future__ import annotations

import re
import time

import pytest

from tests.rum.beacon.browser import Tab
from tests.rum.beacon.site import TAG, Body, Site

pytestmark = pytest.mark.e2e

BUSY = "const end = performance.now() + {0}; while (performance.now() < end);"


def test_vitals_with_their_parts(site: Site, tab: Tab) -> None:
    """All five vitals arrive, and the parts of each add up to its value."""
    slow = f"<button style='position:fixed;inset:0;opacity:0' onclick='{BUSY.format(120)}'>buy</button>"
    shift = "<p id=low>low</p><script>setTimeout(() => low.style.paddingTop = '300px', 600)</script>"
    tab.go(site.page("/", content=shift + slow))
    site.item("vital", name="LCP")
    tab.run("new Promise(done => new PerformanceObserver(done).observe({type: 'layout-shift', buffered: true}))")
    tab.click(100, 100)
    tab.run("new Promise(done => new PerformanceObserver(done).observe({type: 'first-input', buffered: true}))")
    tab.hide()
    parts = {"LCP": ("ttfb", "delay", "dur", "rend"), "INP": ("in", "proc", "pres"), "FCP": ("ttfb", "rend"),
             "TTFB": ("wait", "cache", "dns", "conn", "req")}  # fmt: skip
    for name, keys in parts.items():
        vital = site.item("vital", name=name)
        assert vital["val"] == pytest.approx(sum(vital["at"][key] for key in keys), abs=0.5)
    shifted, pressed = site.item("vital", name="CLS"), site.item("vital", name="INP")
    assert 0 < shifted["val"] == shifted["at"]["max"]
    assert "#low" == shifted["at"]["el"].split(">")[0]
    assert "complete" == shifted["at"]["state"]
    assert 100 < pressed["val"]
    assert ("html>body>button", "pointer") == (pressed["at"]["el"], pressed["at"]["type"])
    # The browser may tell of the frame after the interaction; then the script is in `work` alone.
    assert 1 == pressed["at"].get("own", 1)
    assert {"own", "third"} < site.item("vital", name="LCP")["at"].keys()


def test_a_later_value_replaces_an_earlier_one(site: Site, tab: Tab) -> None:
    """The largest paint so far goes out early; a larger one comes under the same id."""
    tab.go(site.page("/"))
    early = site.item("vital", name="LCP")
    tab.run("document.body.insertAdjacentHTML('beforeend', '<h1 style=font-size:200px>larger and larger</h1>')")
    site.wait(lambda: site.items("vital", name="LCP")[-1]["val"] > early["val"])
    late = site.item("vital", name="LCP")
    assert early["id"] == late["id"]
    assert late["val"] == pytest.approx(early["val"] + late["dlt"], abs=0.2)


def test_phases(site: Site, tab: Tab) -> None:
    """The phases of the load, once; what did not happen is left out."""
    tab.go(site.page("/"))
    load = site.item("load")
    assert {"k", "t", "dns", "tcp", "req", "res", "dom", "load", "size", "proto"} == load.keys()
    tab.hide()
    assert 1 == len(site.items("load"))


def test_long_frames_by_script(site: Site, tab: Tab) -> None:
    """Long frames name the scripts that ran in them, own and third party."""
    for name in ("own", "third"):
        source = f"setTimeout(function {name}() {{ {BUSY.format(80)} }}, 50)".encode()
        site.pages[f"/{name}.js"] = (200, {"Content-Type": "text/javascript"}, source)
    scripts = f"<script src=/own.js?v=3></script><script src={site.other}/third.js></script>"
    tab.go(site.page("/", content=scripts))
    sources = (f"{site.url}/own.js", f"{site.other}/third.js")

    def told() -> dict[str, Body]:
        return {script["src"]: script for item in site.items("work") for script in item["scripts"]}

    site.wait(lambda: told().keys() >= set(sources))
    assert [1, 0] == [told()[source]["own"] for source in sources]
    assert all(79 < told()[source]["ms"] < 1000 and told()[source]["fn"] for source in sources)
    assert all(item["n"] >= 1 and item["blk"] <= item["max"] * item["n"] for item in site.items("work"))


def test_script_before_the_largest_paint(site: Site, tab: Tab) -> None:
    """Script that holds up the largest paint is told with it, and what ran after it is not."""
    after = f"<script>setTimeout(() => {{ {BUSY.format(150)} }}, 400)</script>"
    tab.go(site.page("/", head=TAG + f"<script>{BUSY.format(150)}</script>", content=after))
    paint = site.item("vital", name="LCP")
    site.item("work")
    assert 145 <= paint["at"]["own"] <= paint["val"]
    assert 0 == paint["at"]["third"]


def test_long_tasks_where_frames_are_unsupported(site: Site, tab: Tab) -> None:
    """Without long animation frames long tasks are counted, and marked as such."""
    hide = """<script>const all = PerformanceObserver.supportedEntryTypes.filter((t) => t != 'long-animation-frame');
        Object.defineProperty(PerformanceObserver, 'supportedEntryTypes', {get: () => all})</script>"""
    tab.go(site.page("/", head=hide + TAG, content=f"<script>setTimeout(() => {{ {BUSY.format(90)} }}, 50)</script>"))
    work = site.item("work", lt=1)
    assert [] == work["scripts"]
    assert 40 <= work["max"] - 50 <= work["blk"] + 0.2


def test_errors_are_counted_not_repeated(site: Site, tab: Tab) -> None:
    """500 times one error is one error with its count; the stack goes once, addresses lose their query."""
    code = "function broken() { throw new TypeError('no stock at https://shop.example/a?user=ann') }"
    tab.go(site.page("/", content=f"<script>{code}</script>"))
    tab.run(
        "new Promise(done => { let n = 500; const again = () => { --n ? setTimeout(again) : done(); broken() }; setTimeout(again) })"
    )
    tab.hide()
    site.wait(lambda: sum(item["n"] for item in site.items("err")) >= 500)
    errors = site.items("err")
    assert 500 == sum(item["n"] for item in errors)
    assert 1 == len({item["fp"] for item in errors}) == sum("stk" in item for item in errors)
    assert ("error", "TypeError") == (errors[0]["kind"], errors[0]["type"])
    assert errors[0]["msg"].endswith("no stock at https://shop.example/a")
    assert re.search(r"broken \(http://[^?]+:\d+:\d+\)", errors[0]["stk"])


def test_many_different_errors_are_bounded(site: Site, tab: Tab) -> None:
    """Of 500 different errors 20 are told, and the others counted as dropped."""
    tab.go(site.page("/"))
    tab.run("[...Array(500).keys()].forEach(n => firstcause.error(new Error('number ' + n)))")
    tab.hide()
    site.wait(lambda: len(site.items("err")) >= 20)
    dropped = sum(body.get("lost", {}).get("full", 0) for body in site.bodies)
    assert (20, 480) == (len(site.items("err")), dropped)


def test_rejections_and_opaque_errors(site: Site, tab: Tab) -> None:
    """Unhandled rejections are their own kind, and so is what another origin's script hides; noise is only counted."""
    site.pages["/opaque.js"] = (200, {"Content-Type": "text/javascript"}, b"throw new Error('secret')")
    tab.go(site.page("/", content=f"<script src={site.other}/opaque.js></script>"))
    tab.run("(Promise.reject(new RangeError('unhandled')), Promise.reject('a text'), 1)")
    noise = "new ErrorEvent('error', {message: 'ResizeObserver loop completed with undelivered notifications.'})"
    tab.run(f"dispatchEvent({noise})")
    tab.hide()
    assert "Script error." == site.item("err", kind="script")["msg"]
    assert "RangeError" == site.item("err", msg="unhandled", kind="rejection")["type"]
    site.item("err", msg="a text", kind="rejection")
    assert 3 == len(site.items("err"))
    assert 1 == sum(body.get("lost", {}).get("noise", 0) for body in site.bodies)


def test_requests_carry_the_trace(site: Site, tab: Tab) -> None:
    """fetch and XHR to own and listed origins carry `traceparent`; others are timed only. The page's result is its own."""
    site.page("/api/orders", "an order", Access_Control_Allow_Origin="*", Access_Control_Allow_Headers="*")
    tab.go(site.page("/"))
    assert "an order" in tab.run(
        "fetch('/api/orders?user=ann', {method: 'PUT', headers: {x: '1'}}).then(r => r.text())"
    )
    tab.run(
        "new Promise(done => { const x = new XMLHttpRequest; x.onload = done; x.open('POST', '/api/orders'); x.send('a') })"
    )
    tab.run(f"fetch('{site.other}/api/orders').then(r => r.text())")
    assert "TypeError" == tab.run("fetch('http://127.0.0.1:9/').catch(e => e.name)")
    tab.hide()
    sent = {m: h for m, path, h, _ in site.requests if path.startswith("/api") and m in ("PUT", "POST")}
    for how, method in (("fetch", "PUT"), ("xhr", "POST")):
        told = site.item("req", how=how, m=method)
        assert f"00-{told['tid']}-{told['sid']}-01" == sent[method]["traceparent"]
        assert (200, f"{site.url}/api/orders") == (told["st"], told["url"])
    assert "1" == sent["PUT"]["x"]
    other = site.item("req", url=f"{site.other}/api/orders")
    assert (200, False) == (other["st"], "tid" in other)
    assert 0 == site.item("req", url="http://127.0.0.1:9/")["st"]
    assert not [h for m, p, h, _ in site.requests if m == "OPTIONS"]
    assert not [item for item in site.items("req") if item["url"].endswith(("/_fc", ".js"))]


LOADED = "a" * 32


def timing(age_s: float = 0) -> str:
    """What the server says of the request that it answers with a page, under a mark of that age."""
    mark = f"{int(time.time() - age_s)}.{'c' * 16}"
    return f'traceparent;desc="00-{LOADED}-{"b" * 16}-01", fcmark;desc="{mark}"'


def fetched(site: Site, tab: Tab, path: str) -> str:
    """The trace that a request of the page goes on with."""
    tab.run(f"fetch('{path}').then(answer => answer.text())")
    (found,) = [headers["traceparent"] for _method, at, headers, _body in site.requests if at == path]
    return found.split("-")[1]


def test_requests_go_on_with_the_trace_of_their_page(site: Site, tab: Tab) -> None:
    """By fetch and XHR alike; another view of the same document, and a return to it, are not what the server loaded."""
    tab.go(site.page("/", Server_Timing=timing()))
    assert LOADED == fetched(site, tab, "/api/1")
    tab.run("new Promise(done => { const x = new XMLHttpRequest; x.onload = done; x.open('GET', '/api/2'); x.send() })")
    slow = "new Promise(done => { const x = new XMLHttpRequest; x.onload = done; x.open('GET', '/api/3');"
    tab.run(slow + " history.pushState({}, '', '/two'); x.send() })")
    later = fetched(site, tab, "/api/4")
    assert LOADED != later
    tab.hide()
    told = {path: site.item("req", url=f"{site.url}{path}")["tid"] for path in ("/api/1", "/api/2", "/api/3", "/api/4")}
    assert {"/api/1": LOADED, "/api/2": LOADED, "/api/3": LOADED, "/api/4": later} == told
    owners = {item["url"]: body["nav"] for body in site.bodies for item in body["items"] if item["k"] == "req"}
    assert ("navigate", "soft-navigation") == (owners[f"{site.url}/api/3"], owners[f"{site.url}/api/4"])
    tab.show()
    tab.go(site.page("/b", head=""))
    tab.run("history.back()")
    site.wait(lambda: "back-forward-cache" in [nav for nav, _path in site.views()])
    assert LOADED != fetched(site, tab, "/api/5")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Server_Timing": timing(3600)}, {"Server_Timing": timing().partition(",")[0]}],
    ids=["none", "old", "unmarked"],
)
def test_requests_of_pages_without_a_fresh_mark_begin_traces(site: Site, tab: Tab, headers: dict[str, str]) -> None:
    """Behind a cache all visitors would share one trace."""
    tab.go(site.page("/", **headers))
    found = [fetched(site, tab, path) for path in ("/api/1", "/api/2")]
    assert 3 == len({LOADED, *found})


def test_a_page_open_for_long_begins_traces(site: Site, tab: Tab) -> None:
    """After five minutes its load is over, whatever it still asks for."""
    aged = "<script>const now = performance.now; performance.now = () => now.call(performance) + 3e5</script>"
    tab.go(site.page("/", Server_Timing=timing(), head=aged + TAG))
    assert LOADED != fetched(site, tab, "/api/1")


def test_a_listed_origin_gets_the_trace(site: Site, tab: Tab) -> None:
    """`data-trace` adds origins; a `traceparent` that the page has set is left alone and not claimed."""
    allow = {"Access_Control_Allow_Origin": "*", "Access_Control_Allow_Headers": "traceparent"}
    site.page("/api", **allow)
    tab.go(site.page("/", head=TAG.replace("data-app", f"data-trace='http://x.example {site.other}' data-app")))
    tab.run(f"fetch('{site.other}/api')")
    theirs = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    tab.run(f"fetch('{site.url}/api', {{headers: {{traceparent: '{theirs}'}}}})")
    tab.hide()
    told = site.item("req", url=f"{site.other}/api")
    got = [h["traceparent"] for m, p, h, _ in site.requests if p == "/api" and m == "GET"]
    assert [f"00-{told['tid']}-{told['sid']}-01", theirs] == got
    assert "tid" not in site.item("req", url=f"{site.url}/api")


def test_the_page_sees_its_own_failures_and_not_ours(site: Site, tab: Tab) -> None:
    """An unhandled failed fetch stays unhandled; what breaks inside the beacon is counted and not reported."""
    tab.go(
        site.page(
            "/",
            head="<script>firstcause = {scrub: (u) => { if (broken) throw 1; return u }}, broken = 0</script>" + TAG,
        )
    )
    tab.run("(globalThis.seen = [], addEventListener('unhandledrejection', e => seen.push(e.reason.message)), 1)")
    tab.run("(fetch('http://127.0.0.1:9/'), 1)")
    site.item("err", kind="rejection", msg="Failed to fetch")
    assert ["Failed to fetch"] == tab.run("seen")
    tab.run("(broken = 1, fetch('/x').then(() => 1))")
    tab.run("(broken = 0, firstcause.error(new Error('after')), 1)")
    tab.hide()
    site.item("err", msg="after")
    assert 2 == len(site.items("err"))
    assert 0 < sum(body.get("lost", {}).get("broken", 0) for body in site.bodies)


def test_impossible_values_are_dropped_and_counted(site: Site, tab: Tab) -> None:
    """Negative, endless and absent numbers of a browser's clock never leave the page."""
    lie = """<script>
        const lies = {domainLookupEnd: -5, connectEnd: 1e300, responseEnd: NaN, loadEventEnd: 4e12};
        for (const [name, value] of Object.entries(lies)) {
            const proto = name in PerformanceResourceTiming.prototype && !Object.hasOwn(PerformanceNavigationTiming.prototype, name)
                ? PerformanceResourceTiming.prototype : PerformanceNavigationTiming.prototype;
            Object.defineProperty(proto, name, {get: () => value});
        }
    </script>"""
    tab.go(site.page("/", head=lie + TAG))
    load = site.item("load")
    assert {"tcp", "res", "dom", "load"}.isdisjoint(load)
    assert 3 <= sum(body.get("lost", {}).get("impossible", 0) for body in site.bodies)
    assert all(0 <= n <= 3.6e6 for i in site.items() for n in i.values() if isinstance(n, int | float))


def test_addresses_are_scrubbed(site: Site, tab: Tab) -> None:
    """No query and no fragment leaves the page; the page's own scrubber has the last word."""
    scrub = "<script>firstcause = {scrub: (url) => url.replace(/tokens\\/\\w+/, 'tokens/-')}</script>"
    # A script that is long enough to be told of, by who invoked it: the page.
    slow = f"<script>{BUSY.format(120)}</script>"
    site.page("/tokens/secret1", head=scrub + TAG, content=f"<img src='/x.png?secret2'>{slow}")
    tab.go(site.url + "/tokens/secret1?secret2#secret3")
    tab.run("fetch('/tokens/secret1?secret2#secret3').then(() => 1)")
    tab.run("(firstcause.error(new Error('at ' + location.href)), 1)")
    tab.hide()
    site.item("err")
    site.item("req")
    assert any(script["own"] for script in site.item("work")["scripts"])
    assert "secret" not in str(site.bodies)
    assert f"at {site.url}/tokens/-" == site.item("err")["msg"]
