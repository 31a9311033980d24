"""Mutants of the compiler: each spoils one thing that matters, and some fast test must notice.

`python -m tests.alerts.mutations` tries all and prints the score; names (or parts of them) as arguments try those.
Exit 0 only if every mutant was noticed. Whether the committed files are up to date is not asked: that alone would
notice nearly everything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import firstcause_alerts

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = Path(firstcause_alerts.__file__).parent
NOT_ASKED = (
    "tests/alerts/test_output.py::test_committed_files_are_what_the_source_renders", "tests/alerts/test_mutations.py",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` is replaced by `new` once in a module; `test` (of `tests/alerts`, with -k) ought to notice."""

    name: str
    module: str
    old: str
    new: str
    test: str
    only: str = ""


HELD = " or on ({ENV}) ({held})"
MUTANTS = (
    # Burn rates and their guard
    Mutant("no low-traffic guard", "rules", ">= {GUARD}", ">= 0", "test_sli.py", "four"),
    Mutant("guard of four", "burn_rate", "MIN_BAD = 5", "MIN_BAD = 4", "test_sli.py", "four"),
    Mutant("guard over the short window", "rules", "'slo:bad:increase', pair.long_s", "'slo:bad:increase', pair.short_s", "test_rules.py", "simulation"),
    Mutant("long window in place of the short", "rules", "for s in (pair.long_s, pair.short_s))\n    guard", "for s in (pair.long_s, pair.long_s))\n    guard", "test_rules.py", "times"),
    Mutant("short window in place of the long", "rules", "for s in (pair.long_s, pair.short_s))\n    guard", "for s in (pair.short_s, pair.short_s))\n    guard", "test_rules.py", "times"),
    Mutant("factor of the other pair", "burn_rate", '("page", 3_600, "0.02")', '("page", 3_600, "0.05")', "test_burn_rate.py"),
    Mutant("windows of every period alike", "burn_rate", "ours = long_s if monthly else", "ours = long_s if True else", "test_burn_rate.py"),
    Mutant("long window as average of ratios", "rules", 'f"{bad} / on ({ENV}) ({all_of} > 0)"',
           '''f"avg_over_time(slo:error:ratio{{window='5m'}}[{timing(seconds)}])" if seconds > 3600 else f"{bad} / on ({ENV}) ({all_of} > 0)"''', "test_sli.py", "weighs"),
    Mutant("a burn waits", "rules", 'yield {"alert": name, "expr": f"{expression} {named}",', 'yield {"alert": name, "expr": f"{expression} {named}", "for": "5m",', "test_output.py"),
    # What can go wrong with series
    Mutant("no zero for missing bad events", "sli", " or on ({ENV}) {recorded_total} * 0) >= 0", ") >= 0", "test_sli.py", "budget"),
    Mutant("NaN counts", "sli", 'window, *labels)} >= 0)"', 'window, *labels)})"', "test_sli.py", "one_page"),
    Mutant("NaN among the bad is none", "sli", 'return f"({_increase(counter, window)} or on', 'return f"(({_increase(counter, window)} >= 0) or on', "test_sli.py", "one_page"),
    Mutant("a page ends with its telemetry", "rules", HELD, "", "test_sli.py", "one_page"),
    Mutant("vanished buckets are bad", "sli", 'factor} and on ({ENV}) {good})"', 'factor})"', "test_sli.py", "budget or nobody"),
    Mutant("buckets that come back are bad", "sli", "(({covered} and on", "((({covered} * 0 + 1) and on", "test_sli.py", "nobody"),
    Mutant("continuing buckets are stretched", "sli", "and on ({ENV}) ({either}))", "and on ({ENV}) ({covered}))", "test_sli.py", "budget"),
    Mutant("more good than all is unknown", "sli", 'f"clamp_min({recorded_total} - on ({ENV}) {_good(slo, window)}, 0) >= 0"', 'f"({recorded_total} - on ({ENV}) {_good(slo, window)}) >= 0"', "test_sli.py", "ahead"),
    Mutant("no budget without traffic", "rules", " or on ({ENV}) (({all_of} == 0) + 1)", "", "test_sli.py", "budget"),
    Mutant("absence is not told", "rules", 'unless on ({ENV}) count by ({ENV}) ({series}))")', 'and on ({ENV}) vector(0))")', "test_sli.py", "missing"),
    # Causes and the incident
    Mutant("unknown left out", "causes", "({share} or {named})", "({share})", "test_rules.py", "sum_to_one"),
    Mutant("cover without its clamp", "causes", '"service:verdict:cover",\n            f"clamp_max({own}', '"service:verdict:cover",\n            f"(100 * {own}', "test_rules.py", "sum_to_one"),
    Mutant("downstream is not asked", "causes", ', with_label(down, "part", "down"))', ")", "test_rules.py", "sum_to_one"),
    Mutant("one hop less", "causes", '("cause:hop2", "cause:hop1"), ("cause:score", "cause:hop2")', '("cause:hop2", "cause:hop1"), ("cause:score", "cause:hop0")', "test_rules.py", "sum_to_one"),
    Mutant("birth ignored", "causes", "(min_over_time({counter.over(within)}) {new})) or", "0 * (min_over_time({counter.over(within)}) {new})) or", "test_rules.py", "birth"),
    Mutant("lifetimes counted after a gap", "causes", 'new = f"unless last_over_time', 'new = f"and last_over_time', "test_rules.py", "birth"),
    Mutant("seconds judged by all outcomes", "causes", '"slow|error" if slo.sampled else "error"', '"slow|error|degraded"', "test_rules.py", "degraded"),
    Mutant("no latch", "causes", "(kept, *named, own)", "(*named, own)", "test_rules.py", "kept"),
    Mutant("causes after the alerts", "rules", "for part in (_indicators, _causes, _incident, _alerts):", "for part in (_alerts, _indicators, _causes, _incident):", "test_output.py"),
    Mutant("recovering while it burns", "rules", "{_at(slo, 'slo:error:ratio', near)} <= {budget}", "{_at(slo, 'slo:error:ratio', near)} <= 1", "test_rules.py", "better"),
    # Page views
    Mutant("strangers' blame", "pages", 'KEPT = ("service_name", "joined", "page_route", ENV)', 'KEPT = ("service_name", "page_route", ENV)', "test_pages.py", "names_what"),
    Mutant("the server's part by any route", "pages", 'by = f"{ENV}, http_route"', "by = ENV", "test_pages.py", "names_what"),
    Mutant("a small excess explains all", "pages", "({own} > on ({by}) {weight}) or on ({by}) {weight}", "{own}", "test_pages.py", "names_what"),
    Mutant("failed requests are script's", "pages", 'outcome="error"), "culprit_version"', 'outcome="request"), "culprit_version"', "test_pages.py", "names_what"),
    Mutant("seconds in place of views", "pages", 'return f"{share} * {of_route} {slow}"', "return share", "test_pages.py", "names_what"),
    Mutant("one region of one is concentrated", "pages", "({known}) > 1)", "({known}) > 0)", "test_pages.py", "region"),
    Mutant("anybody pages", "lint", "if pages.unproven(slo) and spec.pages(slo):", "if False:", "test_pages.py", "unproven"),
    # Who is told
    Mutant("group_by without incident", "alertmanager", 'PAGE: ["environment", "incident"]', 'PAGE: ["environment"]', "test_alertmanager.py", "grouped"),
    Mutant("group_by without environment", "alertmanager", 'PAGE: ["environment", "incident"]', 'PAGE: ["incident"]', "test_alertmanager.py", "grouped"),
    Mutant("inhibition across objectives", "alertmanager", '"equal": ["environment", "slo"]', '"equal": ["environment"]', "test_alertmanager.py", "grouped"),
    Mutant("inhibition across environments", "alertmanager", '"equal": ["environment", "slo"]', '"equal": ["slo"]', "test_alertmanager.py", "grouped"),
    Mutant("the end is not told", "alertmanager", 'target.labels["severity"] != HEARTBEAT}', 'target.labels["severity"] == HEARTBEAT}', "test_alertmanager.py", "resolved"),
    Mutant("nobody muted", "alertmanager", 'return {**route, "routes": children} if children else route', "return route", "test_alertmanager.py", "maintenance"),
    Mutant("an environment may be empty", "wording", "{{{{ else }}}}none{{{{ end }}}}", "{{{{ end }}}}", "test_rules.py", "better"),
    Mutant("strangers' text as it comes", "wording", 'PLAIN = "[^A-Za-z0-9_./:@ ,()=?+-]+"', 'PLAIN = "[~]+"', "test_rules.py", "hostile"),
    Mutant("internal objectives page", "model", 'return slo.role == "journey" or', "return True or", "test_spec.py", "shops"),
    # What is refused
    Mutant("unreachable pairs pass", "lint", "if not pair.reachable(slo.budget):", "if False:", "test_spec.py"),
    Mutant("slow scrapes pass", "lint", "timing.scrape_s > short_s / 2", "timing.scrape_s > short_s * 2", "test_spec.py"),
    Mutant("success may be 5xx", "lint", "if any(good.accepts(label, status)", "if False and any(good.accepts(label, status)", "test_spec.py"),
    Mutant("any edge will do", "lint", "if edges and within_s not in edges:", "if False:", "test_spec.py"),
    Mutant("files of any size are read", "source", "if len(text) > MAX_BYTES:", "if False:", "test_spec.py"),
    Mutant("only the first kind of problem", "output", "found = [*found, *lint.problems(spec, timing, partial=bool(found))]", "found = found or lint.problems(spec, timing)", "test_spec.py"),
)  # fmt: skip
SOME = (
    "no low-traffic guard", "no zero for missing bad events", "long window in place of the short", "no latch",
    "group_by without incident", "inhibition across objectives", "unreachable pairs pass",
)  # fmt: skip
"""Those that the suite itself tries, each by the test that ought to notice."""
CONTROL = Mutant("nothing changed", "rules", "groups(", "groups(", "test_sli.py", "four")
"""Proof that a mutant can survive: noticing this one would mean that the tests fail anyway."""


def noticed(mutant: Mutant, *, by_all: bool = True) -> bool:
    """Whether a test fails: the one that ought to, else (`by_all`) any fast one."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / SOURCE.name
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        module = package / f"{mutant.module}.py"
        text = module.read_text("utf-8")
        if mutant.old not in text:
            raise ValueError(f"mutant {mutant.name!r}: {mutant.old!r} is no longer in {mutant.module}.py")
        module.write_text(text.replace(mutant.old, mutant.new), "utf-8")
        chosen = ["-k", mutant.only] if mutant.only else []
        return _fails(folder, f"tests/alerts/{mutant.test}", *chosen) or (by_all and _fails(folder, "tests/alerts"))


def _fails(folder: str, *chosen: str) -> bool:
    deselected = [argument for test in NOT_ASKED for argument in ("--deselect", test)]
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not e2e",
            "-o", f"pythonpath={folder} sdk/src .", *deselected, *chosen,
        ],
        cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode > 2:
        raise RuntimeError(done.stdout + done.stderr)
    return done.returncode != 0


def main(wanted: list[str]) -> int:
    """Try them and print the score."""
    chosen = [mutant for mutant in MUTANTS if not wanted or any(word in mutant.name for word in wanted)]
    survived = []
    for mutant in (CONTROL, *chosen):
        found = noticed(mutant, by_all=mutant is not CONTROL)
        print(f"{'noticed ' if found else 'SURVIVED'}  {mutant.name}", flush=True)
        survived += [] if found else [mutant]
    if CONTROL not in survived:
        print("the tests fail without any change: mend them first")
        return 1
    print(f"mutation score {len(chosen) - len(survived) + 1}/{len(chosen)}")
    return int(len(survived) > 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
