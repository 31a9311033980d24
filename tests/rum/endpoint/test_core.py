"""The endpoint without any server: answers, numbers, events, the joined trace."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_app.alerting import wait
from firstcause import _setup
from firstcause.conventions import BY_NAME
from firstcause.testing import Capture
from firstcause_rum.core import Core, Reply

from .pages import ERROR, EVERYTHING, HEAD, LCP, LOAD, REQUEST, VIEW, WORK, admitted, beacon, core, send, vital

PARENT = f"00-{0xABC:032x}-{0xDEF:016x}-01"
OURS = ("firstcause.page.", "firstcause.rum.")


def marked(parent: str = PARENT, age_s: float = 0, **fields: Any) -> dict[str, Any]:
    """The fields of a page that the SDK answered, `age_s` ago."""
    recorder = _setup.recorder()
    assert recorder is not None
    told = recorder.mesh.page(parent, int(time.time() - age_s), True)
    return {"tp": parent, "mark": told.rpartition('desc="')[2].rstrip('"'), **fields}


def joined(seen: Capture) -> tuple[float, float]:
    """How many views were joined, and how many not."""
    return seen.metric("firstcause.page.views", joined="true"), seen.metric("firstcause.page.views", joined="false")


def events(seen: Capture, name: str) -> list[Any]:
    """The log records of an event."""
    return [log for log in seen.logs if log.event_name == name]


# -- answers ------------------------------------------------------------------------------------


def test_a_beacon_is_answered_with_nothing(seen: Capture) -> None:
    """204, no body, not to be kept by anybody, without a cookie."""
    reply = send(core(), beacon())
    assert (204, "no-store") == (reply.status, dict(reply.headers)["cache-control"])
    assert {"cache-control", "vary", "cross-origin-resource-policy"} == {name for name, _ in reply.headers}
    assert 1 == seen.metric("firstcause.rum.beacons", result="accepted")


@pytest.mark.parametrize(
    ("body", "head", "status", "result"),
    [
        (b"{", {}, 400, "json"), (b"[]", {}, 400, "shape"), (beacon(v=2), {}, 400, "version"), (beacon(ses=1), {}, 400, "field"),
        (beacon() | {"items": []}, {}, 400, "items"), (beacon(x=[[[[[[[1]]]]]]]), {}, 400, "depth"),
        (b"x" * 65_537, {}, 413, "size"), (b"", {"content_length": "65537"}, 413, "size"),
        (b"{}", {"content_type": "text/html"}, 400, "type"), (b"{}", {"content_encoding": "br"}, 400, "encoding"),
        (b"{}", {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}, 400, "origin"),
    ],
)  # fmt: skip
def test_refusals_say_nothing_and_are_counted(
    seen: Capture, body: Any, head: dict[str, str], status: int, result: str
) -> None:
    """The status is all that a page learns; the reason is a label."""
    reply = send(core(), body, **head)
    assert status == reply.status
    assert {"cache-control", "vary", "cross-origin-resource-policy"} == {name for name, _ in reply.headers}
    assert 1 == seen.metric("firstcause.rum.beacons", result=result)


def test_the_rate_is_limited_before_the_body(seen: Capture) -> None:
    """429 with the seconds to wait; other networks go on, forged addresses do not help."""
    endpoint = core(address_rate=0.1, address_burst=2)
    replies = [send(endpoint, beacon(seq=n), "203.0.113.7", x_forwarded_for=f"198.51.100.{n}") for n in range(3)]
    assert [204, 204, 429] == [reply.status for reply in replies]
    assert 1 <= int(dict(replies[-1].headers)["retry-after"]) <= 10
    assert 204 == send(endpoint, beacon(seq=9), "198.51.100.7").status
    assert isinstance(endpoint.admit("POST", HEAD, "203.0.113.8"), Reply)
    assert 2 == seen.metric("firstcause.rum.beacons", result="rate")


def test_other_origins_need_no_preflight_and_may_have_one(seen: Capture) -> None:
    """A listed origin is echoed; one that is not learns nothing, not even in a preflight."""
    endpoint = core(origins=("https://www.shop.example",))
    head = {"origin": "https://www.shop.example", "sec_fetch_site": "cross-site"}
    told = dict(send(endpoint, beacon(), **head).headers)
    assert ("https://www.shop.example", "true") == (
        told["access-control-allow-origin"], told["access-control-allow-credentials"],
    )  # fmt: skip
    asked = endpoint.admit("OPTIONS", {"origin": "https://www.shop.example"}, "127.0.0.1")
    assert isinstance(asked, Reply)
    assert (204, "POST") == (asked.status, dict(asked.headers)["access-control-allow-methods"])
    refused = endpoint.admit("OPTIONS", {"origin": "https://evil.example"}, "127.0.0.1")
    assert isinstance(refused, Reply)
    assert (400, None) == (refused.status, dict(refused.headers).get("access-control-allow-origin"))


def test_other_methods_are_not_allowed(seen: Capture) -> None:
    """With the header that says which are."""
    reply = core().admit("PUT", HEAD, "127.0.0.1")
    assert isinstance(reply, Reply)
    assert (405, "POST, OPTIONS") == (reply.status, dict(reply.headers)["allow"])


def test_without_the_sdk_pages_are_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that did not configure, or switched off, still answers 204."""
    monkeypatch.setattr(_setup._state, "recorder", None)
    endpoint = core()
    assert (204, 400) == (send(endpoint, beacon()).status, send(endpoint, b"{").status)
    endpoint.settle(everything=True)


# -- numbers ------------------------------------------------------------------------------------


def test_every_instrument_of_ours_has_a_use(seen: Capture) -> None:
    """A page with everything leaves a point in each, and in none that is not declared."""
    endpoint = core()
    send(endpoint, beacon(*EVERYTHING, cookies=1))
    named = {name for name in BY_NAME if name.startswith(OURS)}
    assert set() == {name for name in named if not seen.metric(name)}


def test_a_page_view_by_its_dimensions(seen: Capture) -> None:
    """Route, and beside it device, region or navigation type, one at a time."""
    send(core(regions=("BR",)), beacon(LCP, route="/cart", dev="mobile", tz="America/Sao_Paulo", nav="reload"))
    assert 1 == seen.metric("firstcause.page.lcp.device", page_route="/cart", device="mobile")
    assert 1 == seen.metric("firstcause.page.lcp.region", page_route="/cart", region="south-america")
    assert 1 == seen.metric("firstcause.page.lcp.navigation", page_route="/cart", navigation="reload")


def test_repeated_reports_count_once_and_the_last_wins(seen: Capture) -> None:
    """By the metric's id, over many bodies; a later report than the settled one is dropped and counted."""
    endpoint = core(settle_s=3600, settle_late_s=3600)
    for seq, value in enumerate((0.05, 0.09, 0.3)):
        send(endpoint, beacon(vital("CLS", value), seq=seq))
    assert 0 == seen.metric("firstcause.page.cls.device")
    endpoint.settle(everything=True)
    send(endpoint, beacon(vital("CLS", 0.9), seq=3))
    endpoint.settle(everything=True)
    assert (1, 1) == (seen.metric("firstcause.page.cls.device"), seen.metric("firstcause.rum.dropped", drop="late"))
    recorder = _setup.recorder()
    assert recorder is not None
    (cell,) = [cell for key, cell in recorder.metrics._calls.items() if key[0] == "firstcause.page.cls.device"]
    assert 300_000_000 == recorder.metrics.store.words[cell.sum]
    assert [0.05, 0.09, 0.3] == [e.attributes["browser.web_vital.value"] for e in events(seen, "browser.web_vital")]


def test_a_retry_is_dropped_whole(seen: Capture) -> None:
    """The same view and number again: nothing of it is counted twice."""
    endpoint = core()
    for _ in range(2):
        send(endpoint, beacon({"k": "view"}, ERROR, LOAD))
    found = [seen.metric(f"firstcause.page.{name}") for name in ("views", "errors", "phase.device", "bad")]
    assert [1, 1, 7, 1] == found
    assert 1 == seen.metric("firstcause.rum.beacons", result="repeated")


def test_a_view_counts_once_however_often_it_is_said(seen: Capture) -> None:
    """Also when a page sends its view in every body."""
    endpoint = core()
    for seq in range(3):
        send(endpoint, beacon({"k": "view"}, seq=seq))
    assert 1 == seen.metric("firstcause.page.views")


@pytest.mark.parametrize(
    ("item", "outcome"),
    [
        (vital("LCP", 2501), "slow"), (vital("LCP", 2500), ""), (vital("INP", 201), "slow"), (vital("CLS", 9), ""),
        (vital("TTFB", 9000), ""), (ERROR, "error"), ({**ERROR, "kind": "rejection"}, "error"),
        ({**ERROR, "kind": "script"}, ""), ({**REQUEST, "st": 503}, "request"), ({**REQUEST, "st": 404}, ""),
        ({**REQUEST, "st": 0}, ""),
    ],
)  # fmt: skip
def test_what_makes_a_view_bad(seen: Capture, item: dict[str, Any], outcome: str) -> None:
    """Over its threshold, an error of its own, or a request that a server failed; once per view."""
    endpoint = core()
    send(endpoint, beacon({"k": "view"}, item, {**item, "id": "again"}, rel="7"))
    assert bool(outcome) == seen.metric("firstcause.page.bad")
    assert bool(outcome) == seen.metric("firstcause.page.bad", outcome=outcome or "none", release="7", joined="false")


def test_a_hidden_page_is_not_slow(seen: Capture) -> None:
    """What was in the background from its start waited for nobody."""
    send(core(), beacon(vital("LCP", 50_000), hid=1))
    assert (0, 0, 1) == tuple(seen.metric(f"firstcause.page.{n}") for n in ("bad", "blame", "lcp.device"))


def test_errors_count_once_per_view_whatever_their_number(seen: Capture) -> None:
    """A page in a loop is one broken page; how often is in the event."""
    send(core(), beacon({**ERROR, "n": 1_000_000}, {**ERROR, "n": 5}, {**ERROR, "fp": "00000002"}, rel="7"))
    assert 2 == seen.metric("firstcause.page.errors", release="7", error_kind="error")
    assert [1_000_000, 5, 1] == [e.attributes["firstcause.error.count"] for e in events(seen, "exception")]


def test_bots_and_tests_are_marked_and_not_mixed_in(seen: Capture) -> None:
    """Told as events, counted as beacons, no part of any page's figures; a demo may count tests."""
    send(core(), beacon(*EVERYTHING), user_agent="Googlebot/2.1")
    send(core(), beacon(*EVERYTHING, wd=1))
    assert (0, 0) == (seen.metric("firstcause.page.views"), seen.metric("firstcause.page.lcp.device"))
    assert (1, 1) == tuple(seen.metric("firstcause.rum.beacons", result=kind) for kind in ("bot", "test"))
    kinds = [log.attributes["user_agent.synthetic.type"] for log in seen.logs]
    assert {"bot": len(EVERYTHING), "test": len(EVERYTHING)} == {kind: kinds.count(kind) for kind in kinds}
    send(core(count_tests=True), beacon(wd=1))
    assert 1 == seen.metric("firstcause.page.views")


def test_blame_sums_to_the_value(seen: Capture) -> None:
    """By route and region, and as an event that names the largest part."""
    send(core(), beacon(LOAD, LCP, tz="America/Lima", route="/cart"))
    assert pytest.approx(4.0) == seen.metric("firstcause.page.blame", page_route="/cart", region="south-america", vital="LCP")
    told = events(seen, "firstcause.slow_page")[0].attributes
    assert "unknown" == told["firstcause.blame.top"]
    parts = {k.rpartition(".")[2]: v for k, v in told.items() if k.startswith("firstcause.blame.") and isinstance(v, float)}
    assert pytest.approx(4000, abs=0.5) == sum(parts.values())
    assert ({"network", "server", "transfer", "render", "own_script", "third_party_script"}) == set(parts)


def test_slow_interactions_are_blamed_before_their_last_word(seen: Capture) -> None:
    """An alert says why within seconds; the histogram waits until the value has stopped growing."""
    endpoint = core(settle_late_s=300)
    send(endpoint, beacon(vital("INP", 400, at={"ms": 300, "own": 0, "src": "https://tags.example/t.js"})))
    assert pytest.approx(0.4) == seen.metric("firstcause.page.blame", vital="INP")
    assert pytest.approx(0.3) == seen.metric("firstcause.page.blame", part="third_party_script")
    assert 0 == seen.metric("firstcause.page.inp.device")


def test_counters_of_bad_views_are_there_before_the_first(seen: Capture) -> None:
    """At zero, for any view and beside each that comes: a series born with its first count loses it."""
    endpoint = core()
    send(endpoint, beacon(rel="7", route="/cart"))
    recorder = _setup.recorder()
    assert recorder is not None
    found = {key[1:] for key in recorder.metrics._counters if key[0] == "firstcause.page.bad"}
    outcomes = ("slow", "error", "request")
    wanted = {("other", "unknown", joined, outcome) for joined in ("true", "false") for outcome in outcomes}
    assert wanted | {("/cart", "7", "false", outcome) for outcome in outcomes} == found


@pytest.mark.parametrize(
    ("items", "cause", "detail"),
    [
        ((vital("LCP", 4000, at={"dur": 4000, "url": "https://shop.example/hero.jpg?token=s3cretvalue"}),),
         "client.slow_page", "https://shop.example/hero.jpg"),
        ((WORK, vital("LCP", 4000, at={"rend": 4000, "third": 3500})), "client.main_thread", "https://tags.example/t.js"),
        ((vital("INP", 400, at={"ms": 300, "own": 1, "src": "https://shop.example/a.js", "fn": "pay"}),),
         "client.main_thread", "pay https://shop.example/a.js"),
        (({**ERROR, "src": "https://shop.example/a.js", "ln": 7},), "client.errors", "TypeError at https://shop.example/a.js:7"),
    ],
)  # fmt: skip
def test_details_behind_causes_are_told(seen: Capture, items: tuple[dict[str, Any], ...], cause: str, detail: str) -> None:
    """The image, the script, the failing line; redacted, and of joined views only."""
    send(core(), beacon({"k": "view"}, *items))
    recorder = _setup.recorder()
    assert recorder is not None
    assert [] == list(recorder.metrics.details)
    send(core(), beacon({"k": "view"}, *items, **marked()))
    ((_service, told_cause, told),) = recorder.metrics.details
    assert cause == told_cause
    assert told.startswith(detail)
    assert len(told) <= 120
    assert "s3cretvalue" not in told


def test_series_are_bounded(seen: Capture) -> None:
    """A thousand routes, releases and regions make a bounded number; the rest is `other`."""
    endpoint = core(series=100)
    for n in range(400):
        word = chr(97 + n % 26) + chr(97 + n // 26)
        send(endpoint, beacon(*EVERYTHING, id=f"{n:032x}", route=f"/{word}", rel=f"r{n}"), f"203.0.{n % 250}.1")
    recorder = _setup.recorder()
    assert recorder is not None
    labels = {key[1][0] for key in recorder.metrics._calls}
    assert "other" in labels
    assert len(recorder.metrics._calls) < 200
    assert len({key[2] for key in recorder.metrics._counters if key[0] == "firstcause.page.views"}) <= 17


# -- events -------------------------------------------------------------------------------------


def test_events_carry_conventions_and_no_address(seen: Capture) -> None:
    """Names of the semantic conventions where there are some; the visitor's address nowhere."""
    endpoint = core(trusted_networks=("127.0.0.0/8",), region_header="CF-IPCountry")
    send(
        endpoint, beacon(*EVERYTHING, rel="7", net="4g"), x_forwarded_for="203.0.113.77", cf_ipcountry="BR",
    )  # fmt: skip
    assert "203.0.113" not in repr([log.attributes for log in seen.logs])
    told = {log.event_name: log.attributes for log in seen.logs}
    assert {
        "firstcause.page_view", "browser.navigation_timing", "browser.web_vital", "exception", "firstcause.page_work",
        "firstcause.page_request", "firstcause.slow_page",
    } == set(told)  # fmt: skip
    common = {"session.id": "a" * 32, "geo.country.iso_code": "BR", "geo.continent.code": "SA", "firstcause.geo.source": "edge"}
    assert all(common.items() <= log.attributes.items() for log in seen.logs)
    first = events(seen, "browser.web_vital")[0].attributes
    assert ("lcp", 4000, "v-LCP", "needs-improvement") == tuple(
        first[f"browser.web_vital.{name}"] for name in ("name", "value", "id", "rating")
    )
    assert ("TypeError", "x is not a function", "at pay") == tuple(
        told["exception"][f"exception.{name}"] for name in ("type", "message", "stacktrace")
    )


def test_the_server_stamps_the_time(seen: Capture) -> None:
    """An item is as old as the page says it is by its own clock's offsets, and never in the future."""
    before = time.time_ns()
    send(core(), beacon({"k": "view", "t": 2000.5}, {**LOAD, "t": 3900}, sent=3000.5))
    view, load = (events(seen, name)[0].timestamp_ns for name in ("firstcause.page_view", "browser.navigation_timing"))
    assert before - 1_000_000_000 <= view <= time.time_ns() - 1_000_000_000
    assert before <= load <= time.time_ns()


def test_secrets_of_pages_are_taken_out(seen: Capture) -> None:
    """From addresses and messages, in case the page's own scrubber was switched off."""
    url = "https://shop.example/reset?token=s3cretvalue#frag"
    message = {**ERROR, "msg": "failed: password=hunter2secret", "src": url}
    send(core(), beacon(message, {**REQUEST, "url": url}, url=url))
    text = repr([log.attributes for log in seen.logs])
    assert [] == [secret for secret in ("s3cretvalue", "hunter2secret") if secret in text]


# -- the joined trace ---------------------------------------------------------------------------


def test_a_marked_page_joins_its_trace(seen: Capture) -> None:
    """Events carry the trace; two spans hang under the backend's; a request's span under the page's."""
    call = {**REQUEST, "tid": f"{0xABC:032x}", "sid": f"{0x77:016x}"}
    send(core(), beacon({"k": "view"}, LOAD, call, **marked()))
    assert (1, 0) == joined(seen)
    assert {0xABC} == {log.trace_id for log in seen.logs}
    spans = {span.name: span for span in seen.spans}
    load, fetch, request = spans["documentLoad"], spans["documentFetch"], spans["GET"]
    assert {0xABC} == {span.context.trace_id for span in spans.values()}
    assert (0xDEF, load.context.span_id, load.context.span_id, 0x77) == (
        load.parent.span_id, fetch.parent.span_id, request.parent.span_id, request.context.span_id,
    )  # fmt: skip
    assert (1200, 1080) == tuple(round((s.end_time - s.start_time) / 1e6) for s in (load, fetch))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mark": f"{int(time.time())}.{'0' * 16}"}, "unsigned"), ({"tp": PARENT.replace("-01", "-00")}, "unsigned"),
        ({"mark": "1." + "0" * 16}, "unsigned"),
    ],
)  # fmt: skip
def test_unsigned_marks_are_not_joined(seen: Capture, change: dict[str, str], why: str) -> None:
    """Made up, or moved to another span: counted, its events without a trace, no span."""
    send(core(), beacon({"k": "view"}, LOAD, **{**marked(), **change}))
    assert ((0, 1), 1) == (joined(seen), seen.metric("firstcause.rum.dropped", drop=why))
    assert ({0}, []) == ({log.trace_id for log in seen.logs}, list(seen.spans))


@pytest.mark.parametrize(("age_s", "sent"), [(301, 400_000), (-40, 1000), (60, 2000)])
def test_stale_marks_are_not_joined(seen: Capture, age_s: float, sent: float) -> None:
    """Older than five minutes, from the future, or older than the document it came with: a cache had it."""
    send(core(), beacon({"k": "view", "t": 1}, sent=sent, **marked(age_s=age_s)))
    assert ((0, 1), 1) == (joined(seen), seen.metric("firstcause.rum.dropped", drop="stale"))


def test_a_mark_joins_one_view_only_and_for_as_long_as_it_lives(seen: Capture) -> None:
    """Later bodies of the view stay joined without a fresh mark; another view with it is not."""
    endpoint, mark = core(), marked()
    send(endpoint, beacon(**mark))
    send(endpoint, beacon(ERROR, seq=1))
    send(endpoint, beacon(id="c" * 32, **mark))
    assert ((1, 1), 1) == (joined(seen), seen.metric("firstcause.rum.dropped", drop="reused"))
    assert 0xABC == events(seen, "exception")[0].trace_id


def test_a_keyless_endpoint_believes_only_this_machine(seen: Capture) -> None:
    """The key of a deployment without one is known to everybody."""
    send(core(), beacon(**marked()), "203.0.113.7")
    assert (0, 1) == joined(seen)


def test_with_a_key_marks_of_others_prove_nothing() -> None:
    """Two deployments, two keys."""
    with Capture(mesh_key="one key of the deployment"):
        mark = marked()
    with Capture(mesh_key="another key of somebody") as seen:
        send(core(), beacon(**mark), "203.0.113.7")
        assert (0, 1) == joined(seen)
        send(core(), beacon(id="d" * 32, **marked()), "203.0.113.7")
        assert (1, 1) == joined(seen)


@pytest.mark.parametrize(("item", "outcome"), [(LCP, "slow"), (ERROR, "error"), (LOAD, None)])
def test_a_bad_view_has_its_trace_kept(seen: Capture, item: dict[str, Any], outcome: str | None) -> None:
    """Unsampled, it is told of only when slow or failed, with the attribute that tail sampling keeps a trace by."""
    send(core(), beacon({"k": "view"}, item, **marked(PARENT[:-1] + "0")))
    found = [span.attributes.get("firstcause.outcome") for span in seen.spans if span.name == "documentLoad"]
    assert ([] if outcome is None else [outcome]) == found


def test_a_request_of_its_own_trace_is_linked_with_the_page(seen: Capture) -> None:
    """It begins in the browser, with the ids that the service was sent; the page's event names its trace."""
    send(core(), beacon({**REQUEST, "tid": "9" * 32, "sid": "8" * 16}, **marked()))
    spans = {span.name: span for span in seen.spans}
    call, load = spans["GET"], spans["documentLoad"]
    assert ("9" * 32, "8" * 16, None) == (f"{call.context.trace_id:x}", f"{call.context.span_id:x}", call.parent)
    assert [(0xABC, load.context.span_id)] == [(link.context.trace_id, link.context.span_id) for link in call.links]
    told = events(seen, "firstcause.page_request")[0]
    assert (0xABC, "9" * 32) == (told.trace_id, told.attributes["firstcause.request.trace_id"])


def test_made_up_methods_name_no_span(seen: Capture) -> None:
    """Span names are an index: callers must not fill it."""
    send(core(), beacon({**REQUEST, "m": "BREW", "tid": "9" * 32, "sid": "8" * 16}, **marked()))
    assert "_OTHER" in {span.name for span in seen.spans}


@pytest.mark.parametrize("proof", [{}, {"tp": PARENT, "mark": f"1.{'0' * 16}"}])
def test_ids_of_a_page_that_proves_nothing_make_no_span(seen: Capture, proof: dict[str, str]) -> None:
    """Anybody can make up ids, also those of somebody else's trace."""
    send(core(), beacon({**REQUEST, "tid": "9" * 32, "sid": "8" * 16}, **proof))
    assert [] == list(seen.spans)
    assert "9" * 32 not in repr([log.attributes for log in seen.logs])


# -- hostile ------------------------------------------------------------------------------------

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=5), max_leaves=10,
)  # fmt: skip


@given(data=st.data())
def test_nothing_hostile_is_raised_or_counted_wrong(data: st.DataObject) -> None:
    """Items with any of their fields replaced by anything: always an answer, never an error of ours."""
    with Capture() as seen:
        endpoint = core()
        items = [dict(data.draw(st.sampled_from(EVERYTHING))) for _ in range(data.draw(st.integers(1, 4)))]
        for item in items:
            item[data.draw(st.sampled_from([*item, "at", "t"]))] = data.draw(ANY)
        raw = json.dumps(beacon(*items, **{data.draw(st.sampled_from(["rel", "route", "url", "tp", "lost"])): data.draw(ANY)}))
        assert send(endpoint, raw.encode("utf-8", "replace")).status in (204, 400)
        assert "firstcause.self.errors" not in seen.self_counts


@given(st.text(max_size=10), st.dictionaries(st.sampled_from([*HEAD, "content-length"]), st.text(max_size=60)), st.text(max_size=20))
def test_any_head_is_answered(method: str, headers: dict[str, str], peer: str) -> None:
    """Whatever stands in it."""
    with Capture():
        found = core().admit(method, headers, peer)
        assert not isinstance(found, Reply) or found.status in (204, 400, 405, 413, 429)


def test_an_error_of_ours_is_no_error_of_the_page(seen: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong inside is swallowed, counted, and answered like anything else."""
    from firstcause import _guard

    _guard.strict(False)
    endpoint = core()
    monkeypatch.setattr(endpoint.views, "get", lambda _id: 1 / 0)
    assert 204 == send(endpoint, beacon()).status
    assert (1, 1) == (seen.self_counts["firstcause.self.errors"], seen.metric("firstcause.rum.beacons", result="error"))


def test_many_threads_at_once(seen: Capture) -> None:
    """Every view is counted once, whoever brings it."""
    endpoint = core(address_burst=1000)

    def work(n: int) -> None:
        for m in range(25):
            send(endpoint, beacon({"k": "view"}, LCP, id=f"{n:016x}{m:016x}"))
            send(endpoint, beacon({"k": "view"}, LCP, id=f"{n:016x}{m:016x}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (200, 200) == (seen.metric("firstcause.page.views"), seen.metric("firstcause.page.lcp.device"))


def test_the_endpoint_settles_by_itself(seen: Capture) -> None:
    """Also when no further beacon comes."""
    endpoint: Core = core(settle_s=0.05)
    assert 204 == endpoint.accept(admitted(endpoint), json.dumps(beacon(LCP)).encode()).status
    assert endpoint._ticking is not None
    assert wait(lambda: seen.metric("firstcause.page.lcp.device"), 20)
    assert VIEW in endpoint.views._known


def test_a_slow_value_may_be_blamed_before_it_counts(seen: Capture) -> None:
    """At once where alert windows are short; it is counted when it is settled, as any."""
    endpoint = core(settle_s=3600, settle_late_s=3600, blame_s=0)
    send(endpoint, beacon(LOAD, LCP))
    assert seen.metric("firstcause.page.blame", part="transfer") > 1
    assert not seen.metric("firstcause.page.lcp.device")
