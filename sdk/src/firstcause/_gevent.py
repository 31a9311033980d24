"""gevent: works when it patches before we start, or before our first thread; else we step aside and say so."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from ._guard import guard
from ._imports import after_import

REFUSED = (
    "gevent patched the threads under our feet: firstcause is switched off in this process. "
    "Patch first (gevent.monkey.patch_all()), then call firstcause.configure"
)


def install(setup: Any, renew: Callable[[], None], refuse: Callable[[], None]) -> None:
    """Watch for a patch that comes after us: `renew` makes locks anew, `refuse` switches everything off."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        setup.attached.append("gevent: patched before us, our threads are greenlets")
        return
    state = {"refused": False}

    def patching(event: Any) -> None:
        kind = type(event).__name__
        if kind == "GeventWillPatchAllEvent" and _threads():
            state["refused"] = True
            setup.warnings.append(REFUSED)
            logging.getLogger("firstcause").warning(REFUSED)
            with guard("gevent.refuse"):
                refuse()
        elif kind == "GeventDidPatchAllEvent" and not state["refused"]:
            setup.attached.append("gevent: patched after us, before our first thread")
            # Locks from before are of the native kind: waiting for one would stop every greenlet.
            renew()

    # Not imported by us: a host without gevent must not get it.
    after_import("gevent.events", lambda events: events.subscribers.append(patching))


def _threads() -> list[threading.Thread]:
    """Ours that run: they hold locks of the kind that was there before the patch."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("firstcause-")]
