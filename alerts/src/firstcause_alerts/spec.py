"""OpenSLO v1 in, frozen objects out; every problem at once, with its line and what to write instead.

What OpenSLO leaves to implementations are annotations that begin with `firstcause.dev/`, and three keys of a
`metricSource.spec`: `query` (a selector), `histogram` (`classic` or `native`) and `as` (`value`, `age`, `pattern`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from . import durations, selector
from .burn_rate import Pair, pairs_for
from .model import HEARTBEAT, PAGE, TICKET, Latency, Level, Pattern, Ratio, Service, Sli, Slo, Spec, Target
from .problems import Problem, SpecError
from .reading import Reader
from .selector import Selector
from .source import read

OWN = "firstcause.dev/"
# OpenSLO's names are those of RFC 1123.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PLAIN = re.compile(r"[A-Za-z0-9_.:/@-]{1,64}")
"""Services and owners: they stand in labels, which Prometheus reads as templates."""
# They stand in annotations, which are templates too; a notification cuts links at 400.
ADDRESS = re.compile(r"""[^\s{}<>"'`]{1,400}""")
KINDS = ("Service", "SLI", "SLO", "AlertPolicy", "AlertCondition", "AlertNotificationTarget")
GOOD_IF = {"lte": "<=", "lt": "<", "gte": ">=", "gt": ">"}
LINKS = ("runbooks", "traces", "dashboard")
# Keys and passwords in files only, so that the compiled configuration can be committed.
SETTINGS = {
    "webhook": ("url", "url-file"),
    "slack": ("api-url-file", "channel"),
    "pagerduty": ("routing-key-file",),
    "email": ("to", "from", "smarthost", "auth-username", "auth-password-file"),
}  # fmt: skip
SELECTOR_FIX = (
    'write a counter with its labels, such as http_server_request_duration_seconds_count{service_name="shop"}'
)


def load(text: str, file: str = "slos.yml") -> Spec:
    """The specification in `text`. Raises `SpecError` with everything that is wrong."""
    spec, problems = readable(text, file)
    if problems:
        raise SpecError(problems)
    return spec


def readable(text: str, file: str) -> tuple[Spec, list[Problem]]:
    """What can be read of `text`, and what cannot. Raises `SpecError` for what is no YAML."""
    reading = _Reading(text, file)
    return reading.spec(), reading.problems


class _Reading:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.objects: dict[str, dict[str, Reader]] = {kind: {} for kind in KINDS}
        self.labels: dict[int, dict[str, str]] = {}
        self.annotations: dict[int, dict[str, str]] = {}
        self.titles: dict[int, str] = {}
        self.used: set[str] = set()
        for document in read(text, file):
            self._index(Reader(document, "document", file, self.problems))

    def _index(self, document: Reader) -> None:
        version = document.text("apiVersion", required=True, fix="write openslo/v1")
        kind = document.one_of("kind", KINDS, required=True)
        if version and version != "openslo/v1":
            document.wrong(
                document.line("apiVersion"), f"apiVersion={version[:40]!r} is not supported", "write openslo/v1"
            )
        body = document.inner("spec", required=True, fix="add spec:")
        name = self._metadata(document, body)
        document.done()
        if not (kind and name and body):
            return
        body.where = f"{kind} {name}"
        if name in self.objects[kind]:
            document.wrong(document.line(), f"{kind} {name} is there twice", "rename or remove one")
        self.objects[kind][name] = body

    def _metadata(self, document: Reader, body: Reader | None) -> str:
        meta = document.inner("metadata", required=True, fix="add metadata: {name: …}")
        if meta is None:
            return ""
        name = meta.text("name", required=True, fix="add a name")
        if name and not NAME.fullmatch(name):
            meta.wrong(meta.line("name"), f"metadata.name={name[:80]!r} is no name", "use a-z, 0-9 and -, at most 63")
        if body is not None:
            self.titles[id(body)] = meta.text("displayName") or name
            self.labels[id(body)] = meta.texts("labels")
            self.annotations[id(body)] = self._annotations(meta)
        meta.done()
        return name

    @staticmethod
    def _annotations(meta: Reader) -> dict[str, str]:
        given = meta.texts("annotations")
        return {key.removeprefix(OWN): value for key, value in given.items() if key.startswith(OWN)}

    # -- objects ------------------------------------------------------------------------------

    def spec(self) -> Spec:
        """Everything, as far as it can be read."""
        services = {name: self._service(name, body) for name, body in self.objects["Service"].items()}
        targets = tuple(self._target(name, body) for name, body in self.objects["AlertNotificationTarget"].items())
        slos = [self._slo(name, body) for name, body in self.objects["SLO"].items()]
        # What nobody refers to is read too: tomorrow somebody will. A problem found twice is one.
        for body in self.objects["AlertPolicy"].values():
            self._policy(body)
        for body in self.objects["AlertCondition"].values():
            self._conditioned(body)
        for name in set(self.objects["SLI"]) - self.used:
            self._sli(self.objects["SLI"][name], "lte", 1.0)  # any comparison will do
        if not self.objects["SLO"] and not self.problems:
            self.problems.append(Problem(self.file, 1, "there is no SLO", "add a document with kind: SLO"))
        return Spec(tuple(slo for slo in slos if slo), services, targets, self.file)

    def _known(self, body: Reader, given: Mapping[str, str], known: tuple[str, ...]) -> dict[str, str]:
        for key in given:
            if key not in known:
                fix = "use " + ", ".join(OWN + name for name in known) if known else "remove it"
                body.wrong(body.line(), f"{body.where} has the annotation {OWN}{key[:60]}, which means nothing", fix)
        return dict(given)

    def _service(self, name: str, body: Reader) -> Service:
        body.text("description")
        body.done()
        links = self._known(body, self.annotations[id(body)], LINKS)
        for key, address in links.items():
            if not ADDRESS.fullmatch(address):
                body.wrong(
                    body.line(), f"{body.where} has {OWN}{key}={address[:80]!r}, which is no address", "write https://…"
                )
        return Service(name, self.titles[id(body)], links)

    def _target(self, name: str, body: Reader) -> Target:
        kind = body.one_of("target", SETTINGS, required=True)
        body.text("description")
        body.done()
        labels = self.labels[id(body)]
        settings = self._known(body, self.annotations[id(body)], SETTINGS.get(kind, ()))
        if labels.get("severity") not in (PAGE, TICKET, HEARTBEAT):
            fix = f"add metadata.labels.severity: {PAGE}, {TICKET} or {HEARTBEAT}"
            body.wrong(body.line(), f"{body.where} does not say which alerts it takes", fix)
        for key in sorted(set(labels) - {"severity", "owner", "environment"}):
            body.wrong(body.line(), f"{body.where} has the label {key[:60]}", "use severity, owner and environment")
        for key in ("owner", "environment"):
            self._plain(body, key, labels.get(key, ""))
        self._complete(body, kind, settings)
        return Target(name, kind, labels, settings, body.line())

    @staticmethod
    def _complete(body: Reader, kind: str, settings: Mapping[str, str]) -> None:
        if kind == "webhook":
            if len({"url", "url-file"} & set(settings)) != 1:
                body.wrong(
                    body.line(), f"{body.where} has no address", f"add {OWN}url, or {OWN}url-file when it is secret"
                )
            return
        for key in SETTINGS.get(kind, ()):
            if key not in settings and not key.startswith("auth-"):
                body.wrong(body.line(), f"{body.where} lacks {OWN}{key}", "add the annotation")

    @staticmethod
    def _plain(body: Reader, key: str, text: str) -> str:
        if text and not PLAIN.fullmatch(text):
            body.wrong(
                body.line(key), f"{body.where} has the {key} {text[:80]!r}", "use at most 64 letters, digits and _.:/@-"
            )
        return text

    def _slo(self, name: str, body: Reader) -> Slo | None:
        body.text("description")
        service = self._plain(body, "service", body.text("service", required=True, fix="name the service"))
        method = body.text("budgetingMethod", required=True, fix="write Occurrences")
        if method and method != "Occurrences":
            body.wrong(
                body.line("budgetingMethod"),
                f"{body.where}.budgetingMethod={method[:40]!r} is not supported",
                "write Occurrences",
            )
        period_s = self._period(body)
        target, op, value = self._objective(body)
        sli = self._indicator(body, op, value)
        pairs, targets = self._policies(body)
        body.done()
        labels, own = self.labels[id(body)], self._known(body, self.annotations[id(body)], ("covers", "maintenance"))
        self._labelled(body, labels)
        if sli is None or target is None or period_s is None:
            return None
        # The quickest first, as `pairs_for` has them: rules name what burns now after the first.
        pairs = tuple(sorted(pairs, key=lambda pair: pair.long_s)) or pairs_for(period_s)
        covers, muted = _split(own.get("covers", ""), ","), _split(own.get("maintenance", ""), ";")
        return Slo(
            name, self.titles[id(body)], service, labels.get("owner", ""), labels.get("role", ""), target, period_s,
            sli, pairs, covers, muted, body.line(), targets,
        )  # fmt: skip

    def _labelled(self, body: Reader, labels: Mapping[str, str]) -> None:
        if not self._plain(body, "owner", labels.get("owner", "")):
            body.wrong(body.line(), f"{body.where} has no owner", "add metadata.labels.owner: the team that is woken")
        if labels.get("role") not in ("journey", "internal"):
            fix = "add metadata.labels.role: journey (users feel it) or internal"
            body.wrong(body.line(), f"{body.where} has no role", fix)

    @staticmethod
    def _period(body: Reader) -> int | None:
        windows = body.list("timeWindow", required=True, fix="add - {duration: 30d, isRolling: true}")
        if len(windows) != 1:
            body.wrong(
                body.line("timeWindow"), f"{body.where}.timeWindow has {len(windows)} items", "write exactly one"
            )
            return None
        (one,) = windows
        found = one.parsed(
            "duration", durations.parse, "write a number and m, h, d, w, M, Q or Y, as in 30d", required=True
        )
        one.refuse("calendar", "budgets roll", "remove it, and write isRolling: true")
        if one.flag("isRolling") is not True:
            one.wrong(one.line("isRolling"), f"{one.where}.isRolling is not true", "write isRolling: true")
        one.done()
        return found

    @staticmethod
    def _objective(body: Reader) -> tuple[Decimal | None, str, float | None]:
        objectives = body.list("objectives", required=True, fix="add - target: 0.999")
        if len(objectives) != 1:
            fix = "write exactly one; another objective is another SLO"
            body.wrong(body.line("objectives"), f"{body.where}.objectives has {len(objectives)} items", fix)
            return None, "", None
        (one,) = objectives
        one.text("displayName")
        for key in ("timeSliceTarget", "timeSliceWindow"):
            one.refuse(key, "budgets count occurrences", "remove it")
        for key in ("indicator", "indicatorRef", "compositeWeight"):
            one.refuse(key, "an SLO has one indicator", "remove it, and write one SLO for each")
        op, value = one.one_of("op", GOOD_IF), one.number("value")
        target = _target(one)
        one.done()
        return target, op, value

    # -- indicators -----------------------------------------------------------------------------

    def _indicator(self, body: Reader, op: str, value: float | None) -> Sli | None:
        inline, reference = body.inner("indicator"), body.text("indicatorRef")
        if (inline is None) == (not reference):
            body.wrong(body.line(), f"{body.where} needs indicator or indicatorRef", "write exactly one of them")
            return None
        if inline is None:
            self.used.add(reference)
            indicator = self.objects["SLI"].get(reference)
            if indicator is None:
                body.wrong(body.line("indicatorRef"), f"there is no SLI {reference[:80]}", "add it, or mend the name")
                return None
            return self._sli(indicator, op, value)
        meta = inner.inner("metadata") if (inner := inline) else None
        if meta:
            meta.text("name"), meta.text("displayName")
        indicator = inline.inner("spec", required=True)
        inline.done()
        return self._sli(indicator, op, value) if indicator else None

    def _sli(self, body: Reader, op: str, value: float | None) -> Sli | None:
        body.text("description")
        ratio, threshold = body.inner("ratioMetric"), body.inner("thresholdMetric")
        body.done()
        if (ratio is None) == (threshold is None):
            body.wrong(body.line(), f"{body.where} needs ratioMetric or thresholdMetric", "write exactly one of them")
            return None
        if ratio is not None:
            return self._ratio(ratio)
        return self._threshold(threshold, op, value) if threshold else None

    def _ratio(self, body: Reader) -> Sli | None:
        for key in ("raw", "rawType"):
            body.refuse(key, "a ratio cannot be weighed by its requests", "give good or bad, and total")
        if body.flag("counter") is False:
            body.wrong(
                body.line("counter"), f"{body.where}.counter is false", "use counters; for a gauge use thresholdMetric"
            )
        sides = {
            key: self._source(inner)[0] if (inner := body.inner(key)) else None for key in ("good", "bad", "total")
        }
        body.done()
        if body.has("good") == body.has("bad") or not body.has("total"):
            body.wrong(body.line(), f"{body.where} needs total, and good or bad", "write total and exactly one of them")
            return None
        if sides["total"] is None or (sides["good"] or sides["bad"]) is None:
            return None  # what could not be read is told already
        # A latency then: its causes weigh in seconds, and its limit is told to the SDK.
        if sides["good"] and sides["good"].name.endswith("_bucket"):
            return self._bucketed(body, sides["good"], sides["total"])
        return Ratio(sides["total"], sides["bad"], sides["good"])

    @staticmethod
    def _bucketed(body: Reader, good: Selector, total: Selector) -> Sli | None:
        base, edges = good.name.removesuffix("_bucket"), good.of("le")
        rest = Selector(base, good.without("le").matchers)
        if len(edges) != 1 or edges[0].op != "=" or not _is_number(edges[0].value):
            body.wrong(body.line("good"), f"{body.where}.good does not name one bucket", 'add one le="0.5"')
        elif total != rest.named(base + "_count"):
            body.wrong(
                body.line("total"),
                f"{body.where}.total counts other requests than good",
                f"write {rest.named(base + '_count')}",
            )
        else:
            return Latency(rest, float(edges[0].value), native=False)
        return None

    def _threshold(self, body: Reader, op: str, value: float | None) -> Sli | None:
        found, settings = self._source(body)
        body.done()
        if found is None:
            return None
        if not op or value is None:
            body.wrong(
                body.line(), f"{body.where} has nothing to be compared with", "add op and value to the objective"
            )
            return None
        if "histogram" in settings:
            # A bucket holds what is at most its edge, so both mean the same here.
            if op not in ("lte", "lt"):
                body.wrong(body.line(), f"{body.where} is a latency, compared by {op}", "use op: lte")
            return Latency(found, value, native=settings["histogram"] == "native")
        if settings.get("as") == "pattern":
            # It is a share of what is usual, of which only too little is bad.
            if op not in ("gte", "gt"):
                body.wrong(body.line(), f"{body.where} is a pattern, compared by {op}", "use op: gte")
            return Pattern(found, value, int(settings["window"]))
        return Level(found, GOOD_IF[op], value, age=settings.get("as") == "age")

    def _source(self, body: Reader) -> tuple[Selector | None, dict[str, str]]:
        source = body.inner("metricSource", required=True)
        if source is None:
            return None, {}
        body.done()
        source.refuse("metricSourceRef", "there is one Prometheus", "remove it, and write type: Prometheus")
        kind = source.text("type", required=True, fix="write Prometheus")
        if kind and kind.lower() != "prometheus":
            source.wrong(source.line("type"), f"{source.where}.type={kind[:40]!r} is not supported", "write Prometheus")
        spec = source.inner("spec", required=True)
        source.done()
        if spec is None:
            return None, {}
        query = spec.parsed("query", selector.parse, SELECTOR_FIX, required=True)
        settings = {
            "histogram": spec.one_of("histogram", ("classic", "native")),
            "as": spec.one_of("as", ("value", "age", "pattern")),
        }
        window_s = spec.parsed("window", durations.parse, "write a number and m, h or d, as in 10m")
        spec.done()
        return query, {**{k: v for k, v in settings.items() if v}, "window": str(window_s or 600)}

    # -- policies -------------------------------------------------------------------------------

    def _policies(self, body: Reader) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
        pairs: list[Pair] = []
        targets: list[str] = []
        for one in body.list("alertPolicies"):
            reference = one.text("alertPolicyRef")
            policy = self.objects["AlertPolicy"].get(reference) if reference else one.inner("spec", required=True)
            if not reference:
                one.text("kind"), one.inner("metadata")
            one.done()
            if policy is None:
                one.wrong(one.line(), f"there is no AlertPolicy {reference[:80]}", "add it, or mend the name")
                continue
            found, named = self._policy(policy)
            pairs += found
            targets += named
        return tuple(pairs), tuple(dict.fromkeys(targets))

    def _policy(self, body: Reader) -> tuple[list[Pair], list[str]]:
        body.text("description")
        for key, must in (("alertWhenBreaching", True), ("alertWhenResolved", True), ("alertWhenNoData", True)):
            if body.flag(key) is not None and body.flag(key) is not must:
                fix = "remove it: a page that never resolves, or is silent without data, cannot be trusted"
                body.wrong(body.line(key), f"{body.where}.{key}: false is not supported", fix)
        conditions = body.list("conditions", required=True)
        if len(conditions) != 1:
            body.wrong(
                body.line("conditions"), f"{body.where}.conditions has {len(conditions)} items", "write exactly one"
            )
        pairs = [pair for one in conditions if (pair := self._condition(one))]
        references = body.list("notificationTargets", required=True, fix="add - targetRef: a target")
        return pairs, [name for one in references if (name := self._reference(one))]

    def _reference(self, one: Reader) -> str:
        name = one.text("targetRef", required=True, fix="name an AlertNotificationTarget")
        for key in ("kind", "metadata", "spec"):
            one.refuse(key, "a target is a document of its own", "write it there, and name it by targetRef")
        one.done()
        if name and name not in self.objects["AlertNotificationTarget"]:
            one.wrong(
                one.line("targetRef"), f"there is no AlertNotificationTarget {name[:80]}", "add it, or mend the name"
            )
        return name

    def _condition(self, one: Reader) -> Pair | None:
        reference = one.text("conditionRef")
        body = self.objects["AlertCondition"].get(reference) if reference else one.inner("spec", required=True)
        if not reference:
            one.text("kind"), one.inner("metadata")
        if body is None:
            one.wrong(one.line(), f"there is no AlertCondition {reference[:80]}", "add it, or mend the name")
            return None
        one.done()
        return self._conditioned(body)

    def _conditioned(self, body: Reader) -> Pair | None:
        body.text("description")
        tier = body.one_of("severity", (PAGE, TICKET), required=True)
        inner = body.inner("condition", required=True)
        body.done()
        return self._pair(inner, tier) if inner else None

    @staticmethod
    def _pair(body: Reader, tier: str) -> Pair | None:
        body.one_of("kind", ("burnrate",))
        body.one_of("op", ("gt", "gte"))
        factor = body.number("threshold", required=True, fix="add the burn rate, such as 14.4")
        long_s = body.parsed("lookbackWindow", durations.parse, "write a duration such as 1h", required=True)
        after = body.text("alertAfter")
        if after not in ("", "0m", "0"):
            fix = "write 0m: the short window is there against noise, and waiting delays every page"
            body.wrong(body.line("alertAfter"), f"{body.where}.alertAfter={after[:20]!r} is not supported", fix)
        body.done()
        if factor is not None and factor <= 0:
            body.wrong(
                body.line("threshold"), f"{body.where}.threshold={factor:g} is always exceeded", "use more than 0"
            )
            return None
        return Pair(tier, long_s, Decimal(str(factor))) if tier and long_s and factor else None


def _target(body: Reader) -> Decimal | None:
    plain, percent = body.number("target"), body.number("targetPercent")
    if (plain is None) == (percent is None):
        body.wrong(body.line(), f"{body.where} needs target or targetPercent", "write exactly one, as in target: 0.999")
        return None
    # By their text: the exact value of the float 0.999 has 53 digits, and rules would show them.
    found = Decimal(str(plain)) if plain is not None else Decimal(str(percent)) / 100
    if not 0 < found < 1:
        body.wrong(body.line(), f"{body.where} has the target {found}", "use a number above 0 and below 1, as in 0.999")
        return None
    return found


def _split(text: str, by: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(by) if part.strip())


def _is_number(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False
