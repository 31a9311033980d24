"""`python -m demo_app.break <fault> [--off]`: break a running shop, or mend it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from .faults import BROWSER_FAULTS, FAULTS, LOOK_ALIKES
from .supervisor import STATE
from .switches import VARIABLE, write


def main() -> int:
    """Set or clear one switch of the demo that runs now."""
    known = {**FAULTS, **LOOK_ALIKES, **BROWSER_FAULTS}
    lines = "\n".join(f"  {name:20} {says}" for name, says in known.items())
    parser = argparse.ArgumentParser(
        prog="python -m demo_app.break", description=__doc__, epilog="faults:\n" + lines,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("fault", choices=list(known), metavar="fault")
    parser.add_argument("--off", action="store_true", help="mend it again")
    given = parser.parse_args()
    # In a container the services' own variable says where the switches are.
    switches = os.environ.get(VARIABLE) or (STATE.read_text() if STATE.exists() else "")
    if not switches:
        print("No shop is running: start one with `python -m demo_app --serve`.", file=sys.stderr)
        return 1
    # In a container nobody has made the file before the first fault.
    on = set(json.loads(Path(switches).read_text())) if Path(switches).exists() else set()
    write(switches, on - {given.fault} if given.off else on | {given.fault})
    print(f"{given.fault} is {'off' if given.off else 'on'}: {known[given.fault]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
