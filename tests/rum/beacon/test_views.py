"""Each page view is counted exactly once, whatever happens to the page."""

from __future__ import annotations

import pytest

from tests.rum.beacon.browser import Browser, Tab
from tests.rum.beacon.site import TAG, Site

pytestmark = pytest.mark.e2e


def sole(site: Site, count: int = 1) -> None:
    """`count` views, none of them twice, each in the first body of its view."""
    site.wait(lambda: len(site.views()) >= count)
    first = [body["id"] for body in site.bodies if body["seq"] == 0]
    counted = [body["id"] for body in site.bodies for item in body["items"] if item["k"] == "view"]
    assert sorted(set(counted)) == sorted(counted) == sorted(first)
    assert count == len(counted)


def test_normal_load(site: Site, tab: Tab) -> None:
    """A load is one view with its release, device and session, and all offsets count from its own start."""
    tab.go(site.page("/orders") + "?user=ann#top")
    site.item("vital", name="LCP")
    tab.hide()
    sole(site)
    body = site.bodies[0]
    assert [("navigate", "/orders")] == site.views()
    assert (1, "shop", "1.4.2", "desktop") == (body["v"], body["app"], body["rel"], body["dev"])
    assert (32, 32) == (len(body["ses"]), len(body["id"]))
    assert all(0 <= item["t"] <= sent["sent"] < 600_000 for sent in site.bodies for item in sent["items"])
    posted = [(headers.get("Content-Type"), headers.get("Cookie")) for m, _, headers, _ in site.requests if m == "POST"]
    assert {("text/plain;charset=UTF-8", None)} == set(posted)


def test_instant_hide(site: Site, tab: Tab) -> None:
    """A page that is left before it has loaded is counted, with the phases known by then."""
    site.page("/", head=TAG + '<script>addEventListener("DOMContentLoaded", () => location = "/next")</script>')
    site.page("/next", head="")
    tab.go(site.url)
    sole(site)
    assert "req" in site.item("load")


def test_hidden_before_anything_is_on_watch(site: Site, tab: Tab) -> None:
    """A page that is left in the task that began to measure has its phases too: observers come in the next one."""
    hide = 'Object.defineProperty(document, "visibilityState", {value: "hidden"}); dispatchEvent(new Event("pagehide"))'
    # The last that the tag's script does is to set it.
    site.page("/", head=f'<script>Object.defineProperty(self, "firstcause", {{get() {{}}, set() {{ {hide} }}}})</script>{TAG}')
    tab.go(site.url)
    site.wait(lambda: site.bodies, "no body")
    assert ["view", "load"] == [item["k"] for item in site.bodies[0]["items"]]
    assert "req" in site.item("load")


def test_no_beacon_is_lost_on_hide(site: Site, tab: Tab) -> None:
    """Of 200 pages left at once, 200 tell what happened just before."""
    site.page("/", head=TAG + "<script>onerror = () => 0</script>")
    tab.go(site.page("/blank", head=""))
    for number in range(200):
        tab.go(f"{site.url}/?{number}", "Page.domContentEventFired")
        tab.run(f"(firstcause.error(new Error('last words {number}')), 1)")
    tab.go(site.url + "/blank")
    site.wait(lambda: len(site.items("err")) >= 200)
    assert {f"last words {number}" for number in range(200)} == {item["msg"] for item in site.items("err")}
    sole(site, 200)


def test_return_from_the_bfcache(site: Site, tab: Tab) -> None:
    """Coming back is a view of its own, with vitals of its own and without the mark of the first."""
    timing = 'traceparent;desc="00-' + "a" * 32 + "-" + "b" * 16 + '-01", fcmark;desc="1.x"'
    tab.go(site.page("/a", Server_Timing=timing))
    site.item("vital", name="LCP")
    tab.go(site.page("/b", head=""))
    tab.run("history.back()")
    site.wait(lambda: ("back-forward-cache", "/a") in site.views())
    tab.hide()
    site.wait(lambda: [b for b in site.bodies if b["nav"] == "back-forward-cache" and len(b["items"]) > 1])
    sole(site, 2)
    assert {("navigate", True), ("back-forward-cache", False)} == {(b["nav"], "tp" in b) for b in site.bodies}


def test_prerender(site: Site, browser: Browser, tab: Tab) -> None:
    """A page rendered before it is asked for is counted when it is shown, and not before."""
    rules = '<script type=speculationrules>{"prerender":[{"urls":["/later"],"eagerness":"immediate"}]}</script>'
    follow = "<script>(async function go() { (await fetch('/go')).ok ? location = '/later' : setTimeout(go, 50) })()</script>"
    site.page("/later", content="<script>fetch('/rendered')</script>")
    # A browser does not prerender for a tab that is debugged: this one is only opened.
    address = site.page("/", content=follow, head=rules)
    browser.call("Target.createTarget", url=address, browserContextId=tab.context)
    site.wait(lambda: [path for _, path, *_ in site.requests if path == "/rendered"], "not prerendered")
    assert [] == site.bodies
    site.page("/go")
    site.item("vital", name="LCP")
    sole(site)
    assert [("prerender", "/later")] == site.views()


@pytest.mark.parametrize(
    "before", ["", "<script>Object.defineProperty(self, 'navigation', {value: undefined})</script>"]
)
def test_soft_navigation(site: Site, tab: Tab, before: str) -> None:
    """A new address by the history API is a new view; a corrected one, or another fragment, is none."""
    tab.go(site.page("/", head=before + TAG))
    tab.run("firstcause.route('home')")
    site.wait(site.views)
    tab.run("history.replaceState({}, '', '/corrected'), history.pushState({}, '', '#part')")
    tab.run("history.pushState({}, '', '/orders/7'), firstcause.route('/orders/{id}')")
    tab.run("new Promise((done) => { addEventListener('popstate', () => done(1)); history.back() })")
    tab.hide()
    site.wait(lambda: len(site.views()) >= 3)
    sole(site, 3)
    assert ["navigate", "soft-navigation", "soft-navigation"] == [nav for nav, _ in site.views()]
    assert {"home", "/orders/{id}"} <= {body.get("route") for body in site.bodies}


def test_vitals_of_a_soft_navigation(site: Site, tab: Tab) -> None:
    """Where the browser measures soft navigations, their vitals belong to their own view."""
    button = """<button style='position:fixed;inset:0' onclick="history.pushState({}, '', '/two');
        document.body.innerHTML = '<h1 style=font-size:90px>another page</h1>'.repeat(5)">go</button>"""
    tab.go(site.page("/one", content=button))
    if not tab.run("PerformanceObserver.supportedEntryTypes.includes('soft-navigation')"):
        pytest.skip("this Chromium does not measure soft navigations: apt-get install chromium (151 or newer)")
    site.item("vital", name="LCP")
    tab.click(100, 100)
    site.wait(lambda: [b for b in site.bodies if b["url"].endswith("/two") and len(b["items"]) > 1])
    tab.hide()
    sole(site, 2)
    mine = [item["name"] for b in site.bodies if b["nav"] == "soft-navigation" for item in b["items"] if "name" in item]
    assert {"LCP", "FCP", "TTFB"} <= set(mine)


def test_hidden_from_the_start(site: Site, browser: Browser, tab: Tab) -> None:
    """A page opened in the background is counted and says so."""
    tab.go(site.page("/"))
    site.wait(site.views)
    browser.call("Target.createTarget", url=site.page("/behind"), browserContextId=tab.context, background=True)
    site.wait(lambda: ("navigate", "/behind") in site.views())
    sole(site, 2)
    assert {("/", None), ("/behind", 1)} == {(b["url"].removeprefix(site.url), b.get("hid")) for b in site.bodies}


def test_sleep(site: Site, tab: Tab) -> None:
    """A page that is frozen and woken goes on as the same view."""
    tab.go(site.page("/"))
    site.wait(site.views)
    tab.hide()
    tab("Page.setWebLifecycleState", state="frozen")
    tab("Page.setWebLifecycleState", state="active")
    tab.show()
    tab.run("(firstcause.error(new Error('awake')), 1)")
    tab.hide()
    site.item("err", msg="awake")
    sole(site)


def test_offline_then_online(site: Site, tab: Tab) -> None:
    """What happens while there is no network is kept, also through a hide, and sent once there is."""
    tab("Network.enable")
    tab.go(site.page("/"))
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    tab("Network.emulateNetworkConditions", offline=True, **network)
    site.wait(lambda: tab.run("navigator.onLine") is False)
    before = len(site.bodies)
    tab.run("(firstcause.error(new Error('alone')), 1)")
    tab.hide()
    tab.show()
    assert before == len(site.bodies)
    tab("Network.emulateNetworkConditions", offline=False, **network)
    site.item("err", msg="alone")
    sole(site)


def test_consent_withdrawn(site: Site, tab: Tab) -> None:
    """After withdrawal nothing is sent and nothing kept; given again, the same view is not counted again."""
    tab.go(site.page("/", head=TAG.replace("data-app", "data-consent=storage data-app")))
    site.wait(site.views)
    assert tab.run("sessionStorage.length") == 1
    tab.run("(firstcause.error(new Error('unsent')), firstcause.consent('off'), 1)")
    before = len(site.bodies)
    assert tab.run("sessionStorage.length") == 0
    tab.run("(firstcause.error(new Error('not heard')), history.pushState({}, '', '/two'), fetch('/x'), 1)")
    tab.run("history.back()")
    tab.hide()
    tab.show()
    assert before == len(site.bodies)
    tab.run("(firstcause.consent('on'), firstcause.error(new Error('heard')), 1)")
    tab.hide()
    site.item("err", msg="heard")
    assert {"heard"} == {item["msg"] for item in site.items("err")}
    assert 2 == len({body["ses"] for body in site.bodies})


def test_consent_before_all(site: Site, tab: Tab) -> None:
    """Without consent nothing is patched, stored or sent; given later, the load is still told in full."""
    tab.go(site.page("/", head=TAG.replace("data-app", "data-consent=off data-app")))
    assert tab.run("fetch.toString().includes('native code')")
    tab.run("new Promise((done) => new PerformanceObserver(() => done(1)).observe({type: 'paint', buffered: true}))")
    tab.hide()
    tab.show()
    assert [] == site.bodies
    tab.run("(firstcause.route('start'), firstcause.consent('on'), 1)")
    site.item("load")
    site.item("vital", name="FCP")
    sole(site)
    assert {"start"} == {body["route"] for body in site.bodies}


def test_a_route_named_before_consent(site: Site, tab: Tab) -> None:
    """A router may name the view long before the user consents: the view counts all the same."""
    tab.go(site.page("/", head=TAG.replace("data-app", "data-consent=off data-app")))
    tab.run("(firstcause.route('start'), 1)")
    tab.run("(firstcause.consent('on'), 1)")
    site.wait(site.views)
    tab.hide()
    sole(site)


def test_two_tags(site: Site, tab: Tab) -> None:
    """The script included twice counts once."""
    tab.go(site.page("/", head=TAG + TAG))
    tab.hide()
    sole(site)


def test_sampling(site: Site, tab: Tab) -> None:
    """A session outside the sample sends nothing; one inside is there on every page of its tab."""
    out = site.page("/out", head=TAG.replace("data-app", "data-sample=0 data-app"))
    tab.go(out)
    assert tab.run("fetch.toString().includes('native code')")
    kept = TAG.replace("data-app", "data-consent=storage data-app")
    for path in ("/1", "/2", "/3"):
        tab.go(site.page(path, head=kept))
    tab.hide()
    sole(site, 3)
    assert 1 == len({body["ses"] for body in site.bodies})
