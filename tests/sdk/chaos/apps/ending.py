"""The interpreter ends while everybody still works: exit handlers, daemon threads, objects that are torn down last."""

import atexit
import logging
import sys
import threading

from opentelemetry import metrics, trace

import firstcause


def everything(name: str) -> None:
    """What code of the host does that does not know how late it is."""
    with trace.get_tracer("ending").start_as_current_span(name):
        metrics.get_meter("ending").create_counter("ended").add(1)
        firstcause.get_logger().info(name)
        logging.getLogger("ending").info(name)


class Last:
    """Torn down with its module."""

    def __del__(self) -> None:
        everything("torn down")


def daemon(busy: threading.Event) -> None:
    while True:
        everything("daemon")
        busy.set()


def main(how: str) -> None:
    atexit.register(everything, "after us")
    firstcause.configure("ending")
    atexit.register(everything, "before us")
    busy = threading.Event()
    if "daemon" in how:
        for _ in range(3):
            threading.Thread(target=daemon, args=(busy,), daemon=True).start()
        busy.wait()
    threading.Thread(target=everything, args=("thread",)).start()
    everything("main")
    if "raise" in how:
        raise KeyError("on purpose")
    if "exit" in how:
        sys.exit(3)


last = Last()
main(sys.argv[1])
