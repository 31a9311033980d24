"""Does one page come, in time, and does it name the cause? Seeded runs of the real chain over the demo shop.

Each run has a shop, a Prometheus with a healthy past, and an Alertmanager of its own. Resumable: finished runs are
kept in `bench/results/alerts.json`; `--again` starts over, `--runs 12` plays the next until there are twelve.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from demo_app.__main__ import RECOVERY_S, Run, Screen
from demo_app.alerting import LASTING, PAGE_S, RESOLVE_S, OnCall, on_call, wait
from demo_app.chain import PACE, SCALE, SLOS, programs
from demo_app.faults import FAULTS
from demo_app.judge import QUIET, Judge
from demo_app.load import Load
from demo_app.parts import PartError
from demo_app.programs import ProgramMissingError
from demo_app.receiver import PAGE, Notice
from demo_app.sink import Sink
from demo_app.supervisor import Shop
from firstcause.conventions import CAUSES
from firstcause_alerts import Spec, load

from .alerts_report import table
from .burning import first_burn

RESULTS = Path(__file__).parent / "results"
LEAST_S, MOST_S = 30.0, 60.0
"""How long a fault lasts at least, and at most once it has paged; until the long windows burn in between."""
SILENT_S = 30.0
BORN_S, LATE_S, EVENT_S, GAP_S = 1.0, 12.0, 4.0, 8.0
SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run to play: which faults, and what happens to the alerting itself meanwhile."""

    kind: str
    faults: tuple[str, ...]
    seed: int
    event: str = ""
    """`prometheus` or `alertmanager` restarted, `gap` in scraping, `birth` of counters, `late` second fault."""
    incidents: int = 1
    """How many pages are right: two faults in two services may be two."""

    @property
    def name(self) -> str:
        """Its key among the results."""
        return f"{self.kind}/{self.seed}"


def plans() -> list[Plan]:
    """All runs, seed by seed, so that an unfinished bench has something of everything."""
    found = []
    for seed in SEEDS:
        found += [Plan(fault, (fault,), seed) for fault in sorted(FAULTS)]
        found += [Plan(QUIET, (QUIET,), seed), Plan("silent: retry", ("retry",), seed)]
    for seed in SEEDS[:2]:
        found += [
            Plan("silent: held connection", ("hold_across_call",), seed),
            Plan("two: payments' database and lock", ("payments_db", "payments_lock"), seed),
            Plan("two: exception, payments' database", ("exception", "payments_db"), seed, incidents=2),
            Plan("Prometheus restarted", (("payments_db", "exception")[seed % 2],), seed, "prometheus"),
            Plan("Alertmanager restarted", (("cache_down", "slow_query")[seed % 2],), seed, "alertmanager"),
            Plan("no scrapes for 8 s", (("exception", "payments_db")[seed % 2],), seed, "gap"),
            Plan("fault at start of the services", (("exception", "cache_down")[seed % 2],), seed, "birth"),
            Plan("retries hide it for 12 s", ("retry", "payments_lock"), seed, "late"),
        ]
    return found


@dataclass(slots=True)
class Outcome:
    """What a run showed. Seconds are real ones; one stands for a minute."""

    kind: str
    wanted: bool
    """Whether users were hurt, so that somebody should be woken."""
    incidents: int = 1
    pages: int = 0
    """Groups of notifications."""
    again: int = 0
    """How often one began again after it had been resolved."""
    paged_s: float | None = None
    bound_s: float | None = None
    """When the burn formula, applied to what users themselves measured, is first true."""
    place: int = 0
    """Where the first notification names what was broken: 1 first, 0 nowhere."""
    named: list[list[str]] = field(default_factory=list)
    better_s: float | None = None
    """From the repair, and the last answer it left waiting, until somebody was told that it gets better or is over."""
    resolved_s: float | None = None
    by_chance: float = 0.0
    """Chance that a verdict drawn from those there were is right."""
    most_alerts: bool = False
    """Whether the service with most firing alerts is the broken one."""
    failed: int = 0
    """Rule evaluations."""
    told: list[str] = field(default_factory=list)
    """Each page as it began: after how many seconds, its title, and the causes it named."""


class Mute(Screen):
    """Nobody looks."""

    def line(self, text: str = "", colour: str = "") -> None:
        """Print nothing."""


def main(arguments: list[str]) -> int:
    """Play the runs that are missing, print the table; 0 when all bounds hold."""
    parser = argparse.ArgumentParser(prog="python -m bench alerts", description=__doc__)
    parser.add_argument("--runs", type=int, default=len(plans()), help="stop when there are so many")
    parser.add_argument("--again", action="store_true", help="forget what was played before")
    parser.add_argument("--quick", action="store_true", help="one fault and one quiet run, kept nowhere")
    given, _others = parser.parse_known_args(arguments)
    try:
        programs()
    except ProgramMissingError as error:
        print(f"bench alerts: {error}")
        return 2
    if given.quick:
        quick = [play(plan) for plan in (Plan("exception", ("exception",), 1), Plan(QUIET, (QUIET,), 1))]
        text, held = table([asdict(outcome) for outcome in quick])
    else:
        text, held = table(_all(given.runs, again=given.again))
        (RESULTS / "alerts.md").write_text(text)
    print(text)
    return 0 if held else 1


def _all(runs: int, *, again: bool) -> list[dict[str, Any]]:
    kept = RESULTS / "alerts.json"
    played: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() and not again else {}
    for plan in plans():
        if len(played) >= runs:
            break
        if plan.name in played:
            continue
        began = time.monotonic()
        played[plan.name] = asdict(play(plan))
        # After each run: all of them take about an hour.
        kept.write_text(json.dumps(played, indent=1) + "\n")
        print(f"{plan.name}: {played[plan.name]} in {time.monotonic() - began:.0f} s", flush=True)
    return list(played.values())


def play(plan: Plan) -> Outcome:
    """One run from nothing to nothing."""
    sink, judge = Sink(), Judge()
    try:
        with (
            Shop(sink.url, lambda _text: None) as shop,
            on_call(shop, judge, programs(), None, lambda _notice: None) as called,
        ):
            users = Load(f"http://127.0.0.1:{shop.ports['gateway']}", plan.seed)
            users.start()
            if not wait(lambda: users.began > 0, 20):
                raise PartError("the load does not begin")
            try:
                return _played(plan, Run(shop, users, judge, Mute(), called), called)
            finally:
                users.stop()
    finally:
        judge.close()
        sink.close()


def _played(plan: Plan, run: Run, called: OnCall) -> Outcome:
    # Not warmed up: a counter that is born of the first failures loses that burst to `rate`.
    if plan.event == "birth":
        time.sleep(BORN_S)
    else:
        run.warm_up()
    called.begin()
    since = run.load.now()
    # The judge alone knows the answers: nothing here could hand them on to what is judged.
    wanted, _place = run.judge.place("+".join(plan.faults), [])
    outcome = Outcome(plan.kind, wanted, plan.incidents)
    _break(plan, run)
    _endure(plan, run, called, wanted)
    _first(outcome, plan, run.judge, called)
    repaired = time.monotonic()
    _mend(plan, run)
    _afterwards(outcome, repaired, time.monotonic(), called)
    # A copy of the samples: the load's thread still adds to them.
    outcome.bound_s = first_burn(_spec(), list(run.load.samples), since, pace=PACE, scale=SCALE) if wanted else None
    return outcome


def _spec() -> Spec:
    return load(SLOS.read_text())


def _break(plan: Plan, run: Run) -> None:
    first, *more = plan.faults
    if first != QUIET:
        run.shop.break_(first)
    if plan.event == "late":
        run.watch(LATE_S)
    for fault in more:
        run.shop.break_(fault)


def _mend(plan: Plan, run: Run) -> None:
    """Repair, and let whoever had asked before that have an answer."""
    for fault in plan.faults:
        if fault != QUIET:
            run.shop.mend(fault)
    repaired = run.load.now()
    wait(lambda: not run.load.waiting(repaired), RECOVERY_S)


def _endure(plan: Plan, run: Run, called: OnCall, wanted: bool) -> None:
    """Leave it broken until there was a page that will take a while to end, and meddle meanwhile."""
    if not wanted:
        run.watch(SILENT_S)
        return
    meddle = MEDDLING.get(plan.event)
    if meddle and plan.seed % 2:
        run.watch(EVENT_S)  # in the middle of the first signs
    elif meddle:  # once somebody was told, who must not be told again
        run.watch(PAGE_S, lambda: bool(called.pages))
    if meddle:
        meddle(run, called)
    run.watch(PAGE_S, lambda: bool(called.pages))
    began = time.monotonic()

    def enough() -> bool:
        lasted = time.monotonic() - called.began
        return lasted >= LEAST_S and (time.monotonic() - began > MOST_S - LEAST_S or bool(called.chain.query(LASTING)))

    run.watch(MOST_S, enough)


def _restart(name: str) -> Callable[[Run, OnCall], None]:
    def again(_run: Run, called: OnCall) -> None:
        called.chain.stop(name)
        called.chain.start(name)

    return again


def _gap(run: Run, called: OnCall) -> None:
    called.chain.scrape({})
    run.watch(GAP_S)
    called.chain.scrape(run.shop.metrics)


BETTER = ("Recovering", "Resolved")
MEDDLING = {"prometheus": _restart("prometheus"), "alertmanager": _restart("alertmanager"), "gap": _gap}


def _first(outcome: Outcome, plan: Plan, judge: Judge, called: OnCall) -> None:
    """What the first notification said, and what others would have said with the same data."""
    got, fault = called.pages, "+".join(plan.faults)
    if got:
        outcome.paged_s = got[0].at - called.began
        outcome.named = [list(pair) for pair in got[0].causes]
        outcome.place = judge.place(fault, outcome.named)[1]
    if not outcome.wanted:
        return
    seen = called.chain.query("group by (culprit_service, cause) ({__name__=~'firstcause_request_.*',cause!=''})")
    verdicts = [(row["metric"]["culprit_service"], row["metric"]["cause"]) for row in seen]
    outcome.by_chance = sum(judge.place(fault, [one])[1] for one in verdicts) / max(1, len(verdicts))
    # The Watchdog fires at all times, and accuses nobody.
    alerts = called.chain.query(
        'sort_desc(count by (service) (ALERTS{alertstate="firing",alertname!="Watchdog",service!="none"}))'
    )
    if alerts:
        loudest = alerts[0]["metric"]["service"]
        outcome.most_alerts = bool(judge.place(fault, [(loudest, cause) for cause in CAUSES])[1])


def _afterwards(outcome: Outcome, repaired: float, well: float, called: OnCall) -> None:
    """From the repair to the end of the last page."""
    if outcome.wanted and wait(called.resolved, RESOLVE_S) and called.pages:
        last = [notice for notice in called.notices if notice.kind == PAGE][-1]
        # It may be over before the last of those who waited have their answer.
        outcome.resolved_s = max(0.0, last.at - well)
    outcome.better_s = _better(repaired, well, [notice for notice in called.notices if notice.kind == PAGE])
    outcome.pages, outcome.failed = called.groups, called.failures()
    outcome.again = len(called.pages) - called.groups
    for page in called.pages:
        title, causes = page.text.partition("\n")[0], ", ".join(map(" ".join, page.causes))
        outcome.told.append(f"{page.at - called.began:.1f} s: {title} ({causes})")


def _better(repaired: float, well: float, pages: Sequence[Notice]) -> float | None:
    """At once where the last that was told before the repair was that it gets better, and no page came after it."""
    before = [notice.state in BETTER for notice in pages if notice.at <= repaired]
    told = [notice.at for notice in pages if notice.at > repaired and notice.state in BETTER]
    if told:
        return max(0.0, min(told) - well)
    return 0.0 if before[-1:] == [True] and len(before) == len(pages) else None


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
