"""`python -m demo_app`: break a real shop in a seeded random order, and let its requests say the cause."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import browsing, page_views
from .alerting import PAGE_S, RESOLVE_S, REST_S, OnCall, Reader, on_call, wait
from .chain import programs
from .faults import BROWSER_FAULTS, FAULTS, HARMLESS, LOOK_ALIKES
from .judge import QUIET, Judge
from .load import MIX, Load, Sample, percentile
from .parts import PartError
from .programs import ProgramMissingError
from .sink import Sink, ledger, waterfall
from .supervisor import Shop
from .verdicts import Reading, between, read_all
from .visitors import Visitors, visiting

SEED = 7
# The rarest routes come twice a second, so 12 s are the 24 answers that each needs. Gateway gives up on orders after
# 5 s: within 8 s of the repair whoever still waited has an answer.
WARM_S, FAULT_S, DRAIN_S = 12.0, 13.0, 8.0
WARM_SAMPLES, WARM_MOST_S = 24, 30.0
"""Good answers a route needs before anything is broken (a baseline is warm at 20), and when to give up."""
GOOD_P99_S = 0.4  # most routes promise half a second: alerts/slos.yml
RECOVERY_S = 30.0
FOLLOW_S = 0.2
ROUNDS, ROUNDS_WITHOUT_ALERTS = 3, 6  # a round with alerts also waits for its page, and for the end of it
KEPT = Path("build") / "demo"
"""Where the notifications of each run are kept."""


class Screen:
    """Lines for people: colours on a terminal, plain elsewhere."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ  # https://no-color.org

    def line(self, text: str = "", colour: str = "") -> None:
        """Print one line."""
        code = {"red": "31", "green": "32", "bold": "1", "dim": "2"}.get(colour)
        print(f"\033[{code}m{text}\033[0m" if code and self._colour else text, flush=True)


@dataclass(frozen=True, slots=True)
class Round:
    """What was broken, whether the requests named it, and whom they named most."""

    fault: str
    right: bool
    said: str
    paged: bool = True
    """Whether the pages were as they should be; so it is where there are no alerts."""


class Run:
    """One run: shop, load, judge, the person on call where there are alerts, and the rounds."""

    def __init__(self, shop: Shop, load: Load, judge: Judge, screen: Screen, called: OnCall | None = None) -> None:
        self.shop, self.load, self.judge, self.screen, self.called = shop, load, judge, screen, called
        self.rounds: list[Round] = []

    def watch(self, seconds: float, until: Callable[[], bool] = lambda: False) -> list[Sample]:
        """Let time pass, a line a second; returns what was due in it and has been answered."""
        start = self.load.now()
        for _ in range(round(seconds)):
            if until():
                break
            time.sleep(1)
            now = self.load.now()
            self._live([s for s in list(self.load.samples) if now - 1 <= s.due + s.seconds < now], now)
        return [s for s in list(self.load.samples) if s.due >= start]

    def _live(self, done: list[Sample], now: float) -> None:
        seconds = [s.seconds for s in done]
        errors = sum(is_error(s) for s in done)
        p50, p99 = percentile(seconds, 0.5) * 1e3, percentile(seconds, 0.99) * 1e3
        text = f"  {now:6.0f} s  {len(done):4d} req/s  p50 {p50:7.0f} ms  p99 {p99:7.0f} ms  errors {errors:3d}"
        self.screen.line(text, "red" if errors or p99 > 500 else "dim")

    def round(self, number: int, fault: str) -> None:
        """Break, watch, ask, mend, and wait until users are well again."""
        self._announce(number, {**FAULTS, **LOOK_ALIKES, QUIET: "nothing is broken"}[fault])
        before = read_all(self.shop.metrics)
        if self.called:
            self.called.begin()
        if fault != QUIET:
            self.shop.break_(fault)
        began = self.load.now()
        self.watch(FAULT_S)
        if self.called and fault not in (QUIET, *HARMLESS):
            # Only where users are hurt: nobody is paged for the others, and waiting for that would take all of PAGE_S.
            self.watch(PAGE_S - FAULT_S, self.called.lasting)
        samples, verdicts = self.settle(fault, began, before)
        self._felt(samples)
        self._said(verdicts)
        self._end(fault, len(samples), verdicts)

    def browser_round(self, number: int, fault: str, visitors: Visitors) -> None:
        """The same with visitors, of whom the requests of services know little: their browsers are asked."""
        self._announce(number, BROWSER_FAULTS[fault])
        self.screen.line(f"  visitors: {visitors.kind}", "dim")
        browsing.warm_up(visitors)
        before = page_views.read(self.shop.metrics)
        if self.called:
            self.called.begin()
        self.shop.break_(fault)
        self.watch(browsing.FAULT_S)
        if self.called:
            self.watch(PAGE_S - browsing.FAULT_S, lambda: bool(self.called and self.called.pages))
        self.shop.mend(fault)
        browsing.drain(visitors)
        seen, verdicts = page_views.between(before, page_views.read(self.shop.metrics))
        for line in browsing.told(seen, verdicts):
            self.screen.line(line)
        if visitors.failed:
            self.screen.line(f"  {visitors.failed} visits came to nothing so far: a page did not load in time", "red")
        self._end(fault, round(seen.total(page_views.VIEWS)), verdicts)

    def _announce(self, number: int, says: str) -> None:
        self.screen.line(f"\nRound {number} at {time.strftime('%H:%M:%S')}: {says}", "bold")

    def _end(self, fault: str, requests: int, verdicts: list[dict[str, Any]]) -> None:
        """Have a round judged, and wait for its end."""
        right, why = self.judge.ask(fault, requests, verdicts)
        said = next((f"{row['service']} {row['cause']}" for row in verdicts if row["count"]), "nobody")
        self._judged(right, why)
        self._recover()
        self.rounds.append(Round(fault, right, said, self._paged(fault)))

    def _judged(self, right: bool, why: str) -> None:
        self.screen.line(f"  {'RIGHT' if right else 'WRONG'}: {why}", "green" if right else "red")

    def _paged(self, fault: str) -> bool:
        """Wait until every page is resolved, and have them judged."""
        if self.called is None:
            return True
        wait(self.called.resolved, RESOLVE_S)
        right, why = self.called.decide(fault)
        time.sleep(REST_S)
        self._judged(right, f"the on-call person got {why}")
        return right

    def settle(self, fault: str, began: float, before: Reading) -> tuple[list[Sample], list[dict[str, Any]]]:
        """Mend, and let those who still wait have their answer: leaving them out would flatter the round."""
        # Before the repair: what is due after it meets a shop that is well, and would dilute the round.
        ended = self.load.now()
        if fault != QUIET:
            self.shop.mend(fault)
        patience = time.monotonic() + DRAIN_S
        while self.load.waiting(ended) and time.monotonic() < patience:
            time.sleep(0.1)
        after = read_all(self.shop.metrics)
        due = [s for s in list(self.load.samples) if began <= s.due < ended]
        return due, between(before, after, "gateway")

    def warm_up(self) -> None:
        """Wait until every route has enough good answers to know what is usual."""
        limit = time.monotonic() + WARM_MOST_S
        self.watch(WARM_S)
        while time.monotonic() < limit and not is_warm(list(self.load.samples)):
            self.watch(1)

    def _felt(self, samples: list[Sample]) -> None:
        self.screen.line("  what users felt        requests    p50 ms    p90 ms    p99 ms   errors")
        for route in sorted({s.route for s in samples}):
            mine = [s for s in samples if s.route == route]
            p = [percentile([s.seconds for s in mine], q) * 1e3 for q in (0.5, 0.9, 0.99)]
            errors = sum(is_error(s) for s in mine)
            self.screen.line(f"  {route:22} {len(mine):8d} {p[0]:9.0f} {p[1]:9.0f} {p[2]:9.0f} {errors:8d}")

    def _said(self, verdicts: list[dict[str, Any]]) -> None:
        total = sum(row["count"] for row in verdicts)
        if not total:
            self.screen.line("  the requests blame nobody")
            return
        self.screen.line("  what the requests say  service      via            share  detail")
        for row in [row for row in verdicts if row["count"]][:5]:
            share = f"{row['count'] / total:6.0%}"
            who = f"{row['service']:12} {row['via'] or '-':12}"
            self.screen.line(f"  {row['cause']:22} {who} {share}  {row['detail'][:70]}")

    def _recover(self) -> None:
        """Wait until two seconds in a row are good."""
        began, good = time.monotonic(), 0
        while good < 2 and time.monotonic() - began < RECOVERY_S:
            time.sleep(1)
            now = self.load.now()
            done = [s for s in list(self.load.samples) if now - 1 <= s.due + s.seconds < now]
            good = good + 1 if are_well(done) else 0
        took = time.monotonic() - began
        self.screen.line(f"  recovered after {took:.0f} s" if good >= 2 else "  NOT recovered", "dim")


def are_well(samples: list[Sample]) -> bool:
    """Whether a second's requests are as users want them."""
    if not samples or any(map(is_error, samples)):
        return False
    return percentile([s.seconds for s in samples], 0.99) < GOOD_P99_S


def is_warm(samples: list[Sample]) -> bool:
    """Whether each route of the mix has `WARM_SAMPLES` good answers."""
    good = Counter(s.route for s in samples if not is_error(s))
    return all(good[route] >= WARM_SAMPLES for route, _rate in MIX)


def is_error(sample: Sample) -> bool:
    """No answer, or a server's error."""
    return sample.status == 0 or sample.status >= 500


def order(seed: int, rounds: int) -> list[str]:
    """The faults of a run in their order, one quiet round among them."""
    choose = random.Random(seed)
    faults = choose.sample(sorted(FAULTS), min(rounds - 1, len(FAULTS)))
    faults.insert(choose.randint(1, len(faults)), QUIET)
    return faults


def harmless(seed: int) -> str:
    """What is broken and hurts nobody, in the round before the last."""
    return random.Random(seed).choice(HARMLESS)


def for_browsers(seed: int) -> str:
    """The fault of the last round, which only browsers see."""
    return random.Random(seed).choice(sorted(BROWSER_FAULTS))


def last_line(shop: Shop) -> str:
    """The last canonical line the gateway wrote."""
    lines = shop.log("gateway").read_text(errors="replace").splitlines()
    return next((line for line in reversed(lines) if '"event":"request"' in line and "verdict" in line), "(none)")


def play(seed: int, faults: list[str], screen: Screen, alerting: Mapping[str, Path] | None = None) -> list[Round]:
    """One whole run; returns its rounds as judged. `alerting` is the programs to have alerts by."""
    sink, judge = Sink(), Judge()
    try:
        with (
            Shop(sink.url, lambda text: screen.line("  " + text, "dim")) as shop,
            watched(shop, judge, screen, alerting) as called,
        ):
            load = Load(f"http://127.0.0.1:{shop.ports['gateway']}", seed)
            run = Run(shop, load, judge, screen, called)
            load.start()
            # It begins with a login; one that fails ends the load instead, and is not waited for.
            while not load.began and load.is_alive():
                time.sleep(0.05)
            screen.line(f"\nWarming up for {WARM_S:.0f} s or more, so that every route knows what is usual")
            run.warm_up()
            for number, fault in enumerate(faults, 1):
                if fault in BROWSER_FAULTS:
                    with visiting(shop, seed) as visitors:
                        run.browser_round(number, fault, visitors)
                else:
                    run.round(number, fault)
            load.stop()
            # Inside the block: ports and logs that it names are gone with the shop.
            epilogue(shop, sink, screen)
            return run.rounds
    finally:
        judge.close()
        sink.close()


def watched(
    shop: Shop, judge: Judge, screen: Screen, found: Mapping[str, Path] | None
) -> AbstractContextManager[OnCall | None]:
    """Somebody on call for the shop, whose notifications are shown and kept; nobody without programs."""
    if found is None:
        return nullcontext()
    keep = KEPT / time.strftime("%Y%m%d-%H%M%S")
    keep.mkdir(parents=True, exist_ok=True)
    screen.line("  starting Prometheus and Alertmanager, with a past of six hours that lasted six minutes", "dim")
    screen.line(f"  notifications are kept in {keep}", "dim")
    return on_call(shop, judge, found, keep, Reader(screen.line))


def epilogue(shop: Shop, sink: Sink, screen: Screen) -> None:
    """Where to look further, while it lasts."""
    screen.line("\nMetrics, while the shop runs", "bold")
    for name, port in shop.metrics.items():
        screen.line(f"  {name:10} http://127.0.0.1:{port}/metrics")
    screen.line("\nOne canonical line", "bold")
    screen.line("  " + last_line(shop))
    trace = sink.best()
    screen.line("\nOne trace", "bold")
    for line in [*waterfall(trace), "", "  its ledger", *ledger(trace)]:
        screen.line(line)


def serve(screen: Screen) -> int:
    """Run the shop under load until Ctrl-C, for `python -m demo_app.break`."""
    sink = Sink()
    with Shop(sink.url, screen.line) as shop, visiting(shop, SEED) as visitors:
        load = Load(f"http://127.0.0.1:{shop.ports['gateway']}", SEED)
        load.start()
        screen.line(f"gateway: http://127.0.0.1:{shop.ports['gateway']}  (Ctrl-C ends everything)")
        of_rum = f"http://127.0.0.1:{shop.metrics['rum']}/metrics"
        screen.line(f"visitors of its pages, /shop: {visitors.kind}; what they see: {of_rum}")
        while not threading.Event().wait(FOLLOW_S):
            shop.follow()
    return 0


def found(screen: Screen) -> dict[str, Path]:
    """The programs that alerts need; the first time, this may take minutes."""
    screen.line("  looking for Prometheus and Alertmanager (the first time they are fetched or built)", "dim")
    return programs()


def main() -> int:
    """Parse, play, and exit 0 only when every round was right."""
    parser = argparse.ArgumentParser(prog="python -m demo_app", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or SEED), help="order and times")
    parser.add_argument(
        "--rounds", type=int, default=int(os.environ.get("ROUNDS") or 0), help="a quiet one among them; two more follow"
    )
    parser.add_argument("--faults", nargs="*", help="play exactly these instead")
    parser.add_argument("--no-alerts", action="store_true", help="without Prometheus and Alertmanager")
    parser.add_argument("--serve", action="store_true", help="run until Ctrl-C and break by hand")
    given = parser.parse_args()
    screen = Screen()
    # By default SIGTERM ends Python without leaving `with` blocks, and nothing would be stopped in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if given.serve:
            return serve(screen)
        rounds = given.rounds or (ROUNDS_WITHOUT_ALERTS if given.no_alerts else ROUNDS)
        faults = given.faults or [*order(given.seed, max(2, rounds)), harmless(given.seed), for_browsers(given.seed)]
        played = play(given.seed, faults, screen, None if given.no_alerts else found(screen))
        wrong = sum(not (done.right and done.paged) for done in played)
    except KeyboardInterrupt:
        screen.line("\nstopped")
        return 130  # 128 and the number of SIGINT, as shells say it
    except PartError as error:
        screen.line(f"\nThe shop does not come up: {error}", "red")
        return 1
    except ProgramMissingError as error:
        screen.line(f"\nNo alerts: {error}. Or play without them: python -m demo_app --no-alerts", "red")
        return 1
    score = f"{len(faults) - wrong} of {len(faults)} rounds right (seed {given.seed})"
    screen.line("\n" + score, "red" if wrong else "green")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
