"""Does the diagnosis hold? Ten seeded runs of the demo, and a table of what was broken against what was said.

Resumable: finished seeds are kept in `bench/results/verdicts.json`; `--again` starts over.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from demo_app.__main__ import Screen, order, play

RESULTS = Path(__file__).parent / "results"
SEEDS = 10
ROUNDS = 9
WANTED = 0.9
"""Of all rounds, this share must be right."""


def main(arguments: list[str]) -> int:
    """Play the seeds that are missing, print the table; 0 when nine of ten rounds were right."""
    parser = argparse.ArgumentParser(prog="python -m bench verdicts", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 1 on")
    parser.add_argument("--again", action="store_true", help="forget what was played before")
    given, _others = parser.parse_known_args(arguments)
    kept = RESULTS / "verdicts.json"
    played: dict[str, list[dict[str, Any]]] = {}
    if kept.exists() and not given.again:
        played = json.loads(kept.read_text())
    for seed in range(1, given.seeds + 1):
        if str(seed) not in played:
            rounds = play(seed, order(seed, ROUNDS), Screen())
            played[str(seed)] = [{"fault": r.fault, "right": r.right, "said": r.said} for r in rounds]
            # After each seed, since one takes minutes.
            kept.write_text(json.dumps(played, indent=1) + "\n")
    rows = [row for seed in list(played)[: given.seeds] for row in played[seed]]
    text = table(rows)
    (RESULTS / "verdicts.md").write_text(text)
    print(text)
    return 0 if rows and sum(row["right"] for row in rows) >= WANTED * len(rows) else 1


def table(rows: list[dict[str, Any]]) -> str:
    """The confusion table: per fault, how often which verdict led, and how many rounds were right."""
    lines = ["# What was broken, and what the requests said", "", "| broken | right | said |", "|---|---|---|"]
    for fault in sorted({row["fault"] for row in rows}):
        mine = [row for row in rows if row["fault"] == fault]
        said = Counter(row["said"] for row in mine).most_common()
        words = ", ".join(f"{name} ({n})" for name, n in said)
        lines.append(f"| {fault} | {sum(row['right'] for row in mine)} of {len(mine)} | {words} |")
    right = sum(row["right"] for row in rows)
    lines += ["", f"{right} of {len(rows)} rounds right ({right / max(1, len(rows)):.0%})."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
