"""Visits by the doctor, each in a fork of this program, which has imported what services have in common.

    python visits.py < visits.json     [{"folder": …, "argv": […], "environ": {…}}, …]

Standard output and errors of a visit go to `report` and `errors` in its folder, its exit code to `code`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import fastapi.applications  # noqa: F401 - what takes the time
import prometheus_client  # noqa: F401
import structlog  # noqa: F401

from firstcause import _setup  # noqa: F401
from firstcause.doctor import main

AT_ONCE = 2


def visit(folder: str, argv: list[str], environ: dict[str, str]) -> None:
    """Be one visit; never returns."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    for name, at in (("report", 1), ("errors", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), at)
    code = 70
    try:
        code = main(argv)
    finally:
        sys.stdout.flush()
        os._exit(code)


def all_of(visits: list[dict[str, Any]]) -> None:
    """Run them, some at one time."""
    running: dict[int, str] = {}
    for each in visits:
        if len(running) == AT_ONCE:
            await_one(running)
        pid = os.fork()
        if not pid:
            visit(**each)
        running[pid] = each["folder"]
    while running:
        await_one(running)


def await_one(running: dict[int, str]) -> None:
    """Until some visit is over; note its exit code."""
    pid, status = os.wait()
    with open(os.path.join(running.pop(pid), "code"), "w") as file:
        file.write(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    all_of(json.load(sys.stdin))
