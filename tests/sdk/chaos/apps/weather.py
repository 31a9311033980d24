"""What this process has to bear, by its environment; imported before anything that reads a clock or a name."""

import itertools
import os
import socket
import threading
import time

KIND = os.environ.get("CHAOS", "")
JUMPS_S = (0, 3600, -3600, 86_400 * 400, -86_400 * 400, -1, 1)
HELD_NS = 5_000_000
"""How long, of true time, the wall clock tells the same lie."""


def _jumping() -> None:
    true_ns, steady_ns = time.time_ns, time.monotonic_ns

    def time_ns() -> int:
        return true_ns() + JUMPS_S[steady_ns() // HELD_NS % len(JUMPS_S)] * 1_000_000_000

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def _no_names(*, slow: bool) -> None:
    answers, never = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host, *rest, **named):
        if host != "collector.test":
            return answers(host, *rest, **named)
        if slow:
            never.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    socket.getaddrinfo = getaddrinfo


def raising_things() -> None:
    """Everything of the host's that telemetry calls back, and that raises every other time."""
    from opentelemetry import metrics, trace

    turns = itertools.count()

    def fail(*_args, **_named):
        if next(turns) % 2:
            raise RuntimeError("on purpose")
        return ()

    class Processor:
        on_start = on_end = _on_ending = shutdown = force_flush = fail

    provider = trace.get_tracer_provider()
    if hasattr(provider, "add_span_processor"):
        provider.add_span_processor(Processor())
    metrics.get_meter("chaos").create_observable_gauge("chaos.level", [fail])


if KIND == "clock":
    _jumping()
elif KIND in ("dns", "slow dns"):
    _no_names(slow=KIND == "slow dns")
