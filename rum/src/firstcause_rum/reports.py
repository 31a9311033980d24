"""What the items of a beacon mean: numbers, events, and the outcome of their view. The caller holds a lock."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from firstcause.conventions import PAGE_CAUSES, PHASES, THRESHOLDS
from firstcause.logs.redaction import redact_url, redact_value
from firstcause.servers.incoming import known_method

from . import blame
from .signals import BAD, DROPPED, ERROR, ERRORS, INFO, PAGE, SAMPLED, SCRIPT, WARN, Signals
from .views import GROWING, NEVER, Pending, View

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._config import Config
    from .wire import Item

_PHASE_KEYS = dict(zip(("dns", "tcp", "tls", "req", "res", "dom", "load"), PHASES, strict=True))
_FAILED = 500
url = lru_cache(maxsize=2048)(redact_url)
"""An address without its secrets; the same few come again and again."""
_ATTRIBUTION = {
    "ttfb": "time_to_first_byte", "delay": "resource_load_delay", "dur": "resource_load_duration",
    "rend": "element_render_delay", "in": "input_delay", "proc": "processing_duration", "pres": "presentation_delay",
    "el": "element", "own": "own_script", "third": "third_party_script", "ms": "longest_script", "fn": "function",
    "wait": "waiting_duration", "cache": "cache_duration", "dns": "dns_duration", "conn": "connection_duration",
    "req": "request_duration", "max": "largest_shift", "when": "largest_shift_time",
}  # fmt: skip


class Reports:
    """Takes checked items of known views, and settles what nobody will report again."""

    def __init__(self, config: Config, signals: Signals) -> None:
        self._config, self.signals = config, signals
        self._kinds: dict[str, Callable[[View, Item, int, float], None]] = {
            "view": self._view, "vital": self._vital, "load": self._load, "work": self._work, "err": self._error,
            "req": self._request,
        }  # fmt: skip

    def take(self, view: View, item: Item, at_ns: int, now: float) -> None:
        """One item of a person's view, dated by our clock."""
        view.ends_ms = max(view.ends_ms, item["t"])
        self._kinds[item["k"]](view, item, at_ns, now)

    def tell_only(self, view: View, item: Item, at_ns: int) -> None:
        """One item of a bot or a test: an event, marked; no number."""
        self.signals.event("firstcause.page_" + item["k"], {**view.attributes, **_flat(item)}, at_ns, None)

    # -- kinds --------------------------------------------------------------------------------

    def _view(self, view: View, item: Item, at_ns: int, now: float) -> None:
        if view.counted:
            return
        view.counted = True
        counted = (view.labels.route, view.labels.release, _joined(view))
        self.signals.count(PAGE, *counted)
        self.signals.begin(*counted)
        self.signals.event("firstcause.page_view", view.attributes, at_ns, view.joined)

    def _vital(self, view: View, item: Item, at_ns: int, now: float) -> None:
        name = item["name"]
        settle_s = self._config.settle_late_s if name in GROWING else self._config.settle_s
        value = _scaled(name, item["val"])
        slow = not view.hidden and value > self._config.slow.get(name, NEVER)
        # An alert cannot wait for the last word on a value that grows.
        blame_s = min(settle_s, self._config.settle_s, self._config.blame_s)
        refused = view.report(item, now + settle_s, now + blame_s if slow else NEVER)
        if refused:
            self.signals.count(DROPPED, refused)
            return
        attributes = {
            **view.attributes, "browser.web_vital.name": name.lower(), "browser.web_vital.value": item["val"],
            "browser.web_vital.delta": item.get("dlt", item["val"]), "browser.web_vital.id": item["id"],
            "browser.web_vital.rating": rating(name, value),
            "browser.web_vital.navigation_type": view.labels.navigation, **_attributed(name, item.get("at", {})),
        }  # fmt: skip
        if slow:
            self._bad(view, "slow")
        self.signals.event("browser.web_vital", attributes, at_ns, view.joined, WARN if slow else INFO)

    def _load(self, view: View, item: Item, at_ns: int, now: float) -> None:
        if view.load is not None:
            return
        view.load = {key: value for key, value in item.items() if key not in ("k", "t", "proto")}
        attributes = {**view.attributes}
        for key, phase in _PHASE_KEYS.items():
            if key in item:
                self.signals.observe("phase", view, item[key] / 1000, at_ns, phase)
                attributes["browser.navigation_timing." + phase] = item[key]
        if "proto" in item:
            attributes["network.protocol.name"] = item["proto"]
        if "size" in item:
            attributes["http.response.size"] = item["size"]
        self.signals.event("browser.navigation_timing", attributes, at_ns, view.joined)

    def _work(self, view: View, item: Item, at_ns: int, now: float) -> None:
        self.signals.observe("blocked", view, item["blk"] / 1000, at_ns)
        longest: dict[str, Any] = {}
        for script in item.get("scripts", ()):
            ms = script.get("ms", 0.0)
            party = "first" if script.get("own", 1) else "third"
            self.signals.count(SCRIPT, view.labels.route, party, n=ms / 1000)
            longest = max(longest, script, key=lambda one: one.get("ms", 0.0))
        attributes = {
            **view.attributes, "firstcause.work.blocked": item["blk"], "firstcause.work.frames": item.get("n", 0),
            "firstcause.work.longest": item.get("max", 0.0),
        }  # fmt: skip
        if longest:
            view.script = max(view.script, (longest.get("ms", 0.0), _called(longest)))
            attributes["firstcause.work.script"] = url(longest.get("src", ""))
            attributes["firstcause.work.function"] = longest.get("fn", "")
            attributes["firstcause.work.script_time"] = longest.get("ms", 0.0)
        self.signals.event("firstcause.page_work", attributes, at_ns, view.joined)

    def _error(self, view: View, item: Item, at_ns: int, now: float) -> None:
        kind = item["kind"]
        if view.new_error(item["fp"]):
            self.signals.count(ERRORS, view.labels.route, view.labels.release, kind)
        if kind != "script":  # what another origin's script threw says nothing of the page
            self._bad(view, "error")
            self._explain(view, "client.errors", f"{item.get('type', 'Error')} at {_place(item)}", at_ns)
        attributes = {
            **view.attributes, "exception.type": item.get("type", "Error"),
            "exception.message": redact_value(item.get("msg", "")), "firstcause.error.kind": kind,
            "firstcause.error.count": item.get("n", 1), "firstcause.error.fingerprint": item["fp"],
        }  # fmt: skip
        if "stk" in item:
            attributes["exception.stacktrace"] = redact_value(item["stk"])
        if "src" in item:
            attributes["code.file.path"] = url(item["src"])
            attributes["code.line.number"] = item.get("ln", 0)
            attributes["code.column.number"] = item.get("col", 0)
        self.signals.event("exception", attributes, at_ns, view.joined, ERROR)

    def _request(self, view: View, item: Item, at_ns: int, now: float) -> None:
        status = item["st"]
        said = f"{status // 100}xx" if status >= 100 else "none"
        self.signals.observe("request", view, item["ms"] / 1000, at_ns, said)
        attributes: dict[str, Any] = {
            "http.request.method": known_method(item.get("m", "GET").upper()), "url.full": url(item.get("url", "")),
            "http.response.status_code": status,
        }  # fmt: skip
        if status >= _FAILED or not status:
            attributes["error.type"] = str(status) if status else "no answer"
        trace_id, span_id = int(item.get("tid", "0"), 16), int(item.get("sid", "0"), 16)
        # Only of a page that is proven to be ours: anybody can make up ids.
        if trace_id and span_id and view.joined is not None:
            if view.joined.flags & SAMPLED:
                self.signals.request_span(view, trace_id, span_id, at_ns, item["ms"], dict(attributes))
            attributes["firstcause.request.trace_id"] = item["tid"]
        event = {
            **view.attributes, **attributes, "firstcause.page.url": view.attributes["url.full"],
            "firstcause.request.duration": item["ms"],
        }  # fmt: skip
        if status >= _FAILED:
            self._bad(view, "request")
        severity = WARN if "error.type" in event else INFO
        self.signals.event("firstcause.page_request", event, at_ns, view.joined, severity)

    # -- outcomes -----------------------------------------------------------------------------

    def _bad(self, view: View, outcome: str) -> None:
        """The view turned out slow or failed: counted once, and its trace kept.

        Kept by the span pair, which goes out now whatever the sampling, and says `firstcause.outcome`: what the
        Collector's tail sampling keeps a trace by.
        """
        if view.outcome:
            return
        view.outcome = "slow" if outcome == "slow" else "error"
        self.signals.count(BAD, view.labels.route, view.labels.release, _joined(view), outcome)
        if not view.told:
            view.wait(0.001)  # at the end of this beacon, which may still say how the page was loaded

    def _explain(self, view: View, cause: str, detail: str, at_ns: int) -> None:
        """Only of a view that is proven to be ours: the detail stands in a page."""
        if view.joined is not None:
            self.signals.explain(cause, redact_value(detail), at_ns)

    def settle(self, view: View, now: float) -> None:
        """Count what is due, and tell of the page load."""
        for pending in view.to_blame(now):
            self._blame(view, pending)
        for pending in view.settled(now):
            self.signals.observe(pending.name.lower(), view, _scaled(pending.name, pending.value), _seen_ns(view))
        if view.joined is not None and not view.told:
            view.told = True
            if view.outcome or view.joined.flags & SAMPLED:
                self.signals.spans(view)

    def _blame(self, view: View, pending: Pending) -> None:
        at_ns = _seen_ns(view)
        if pending.name == "LCP":
            parts = blame.of_lcp(pending.value, pending.at, view.load or {}, view.rtt)
        else:
            parts = blame.of_inp(pending.value, pending.at)
        self.signals.blame(view.labels, _joined(view), pending.name, parts)
        top = blame.top(parts)
        self._explain(view, PAGE_CAUSES.get(top, ""), _culprit(view, top, pending), at_ns)
        attributes = {
            **view.attributes, "firstcause.blame.vital": pending.name.lower(), "firstcause.blame.top": top,
            "firstcause.blame.value": pending.value,
            **{f"firstcause.blame.{part}": round(ms, 1) for part, ms in parts.items()},
        }  # fmt: skip
        self.signals.event("firstcause.slow_page", attributes, at_ns, view.joined, WARN)


def _seen_ns(view: View) -> int:
    """When the latest that is known of it happened."""
    return view.origin_ns + int(view.ends_ms * 1e6)


def rating(name: str, value: float) -> str:
    """`good`, `needs-improvement` or `poor`, as web-vitals says it; seconds, or a score."""
    good, fair = THRESHOLDS[name]
    return "good" if value <= good else "needs-improvement" if value <= fair else "poor"


def _scaled(name: str, value: float) -> float:
    """Milliseconds to seconds; a score stays."""
    return value if name == "CLS" else value / 1000


def _culprit(view: View, top: str, pending: Pending) -> str:
    """The image that the largest paint waited for, or the script that ran longest; "" when the page did not say."""
    if top in ("transfer", "render"):
        return url(pending.at.get("url", ""))
    if top not in ("own_script", "third_party_script"):
        return ""
    return _called(pending.at) if pending.name == "INP" else view.script[1]


def _called(script: dict[str, Any]) -> str:
    return f"{script.get('fn', '')} {url(script.get('src', ''))}".strip()


def _place(error: Item) -> str:
    return f"{url(error.get('src', ''))}:{error.get('ln', 0)}" if "src" in error else "an unknown place"


def _joined(view: View) -> str:
    return "false" if view.joined is None else "true"


def _attributed(name: str, at: dict[str, Any]) -> dict[str, Any]:
    prefix = f"firstcause.{name.lower()}."
    return {
        prefix + _ATTRIBUTION.get(key, key): url(value) if key in ("url", "src") else value
        for key, value in at.items()
    }  # fmt: skip


def _flat(item: Item) -> dict[str, Any]:
    return {f"firstcause.item.{k}": v for k, v in item.items() if type(v) in (int, float) or k in ("name", "kind")}
