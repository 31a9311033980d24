"""Forks while threads hold every lock there is: `forking.py <forks>`; children do what the threads do, and end.

Prints one line with the children that hung (ended by their alarm) and those that failed.
"""

import faulthandler
import logging
import os
import signal
import sys
import threading

from flask import Flask
from opentelemetry import metrics, trace

import firstcause

AT_ONCE = 4
ORDINARY = 20
"""Every so many children end by `sys.exit`, which flushes; the others by `os._exit`."""
HUNG_S = 60

app = Flask("forking")
firstcause.configure("forking", app=app, log_stream="none")
tracer, meter = trace.get_tracer("forking"), metrics.get_meter("forking")
counter, histogram = meter.create_counter("forked"), meter.create_histogram("sizes")
log, plain = firstcause.get_logger(), logging.getLogger("forking")
over = threading.Event()


def everything(name: str) -> None:
    """What a request does, as far as it takes locks."""
    with tracer.start_as_current_span(name) as span:
        span.set_attribute("a", 1)
        span.set_attribute("bad", object())
        counter.add(1, {"kind": name})
        histogram.record(3, {"kind": name})
        meter.create_counter(f"counter.{name}").add(1)
        log.info(name)
        plain.info(name)
    assert app.test_client().get(f"/{name}").status_code == 200


@app.get("/<name>")
def answer(name: str) -> str:
    with firstcause.spending("lock:shared"):
        return name


def busy(number: int) -> None:
    """A thread of the parent."""
    while not over.is_set():
        everything(f"thread{number}")


def child(number: int) -> None:
    """In the child: the same, then an end."""
    faulthandler.register(signal.SIGALRM, chain=True)  # a child that hangs says where
    signal.alarm(HUNG_S)
    for _ in range(2):
        everything("child")
    if number % ORDINARY == 0:
        sys.exit(0)
    os._exit(0)


def main(forks: int) -> None:
    """Fork, reap, count."""
    app.test_client()  # Flask imports it now, not in a thread at the moment of a fork
    threads = [threading.Thread(target=busy, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    statuses = []
    for number in range(forks):
        if os.fork() == 0:
            child(number)
        if number >= AT_ONCE:
            statuses.append(os.wait()[1])
    statuses += [os.wait()[1] for _ in range(min(AT_ONCE, forks))]
    over.set()
    hung = sum(os.WIFSIGNALED(status) for status in statuses)
    failed = sum(status != 0 for status in statuses) - hung
    print(f"of {len(statuses)} children {hung} hung, {failed} failed", flush=True)


main(int(sys.argv[1]))
