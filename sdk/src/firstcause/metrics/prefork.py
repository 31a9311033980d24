"""Whose child is this process? Server masters whose workers share one `/metrics`."""

from __future__ import annotations

import os
import sys
from types import FrameType


def parent() -> int | None:
    """The process whose children count together with this one; None for a process of its own.

    Known are gunicorn, which forks its workers, and every server that starts them by `multiprocessing`
    (uvicorn, hypercorn). Others say it with `FIRSTCAUSE_METRICS_DIR`.
    """
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None:
        started_by = processes.parent_process()
        if started_by is not None and started_by.pid:
            return int(started_by.pid)
    if "gunicorn.arbiter" in sys.modules and _in_worker(sys._getframe()):
        return os.getppid()
    return None


def _in_worker(frame: FrameType | None) -> bool:
    """False while gunicorn's master itself loads the application (`--preload`), told by who called us."""
    in_master = False
    while frame is not None:
        if frame.f_code.co_filename.endswith(os.path.join("gunicorn", "arbiter.py")):
            # The fork happens inside this call, and the worker never leaves it.
            if frame.f_code.co_name == "spawn_worker":
                return True
            in_master = True
        frame = frame.f_back
    return not in_master
