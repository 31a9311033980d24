"""Fork, spawn and signals: every process hands over its own, and the host's handlers stay the host's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.sdk.processes.served import HERE, ROOT
from tests.sdk.processes.sink import sink

EXPECTED = ["child 0", "child 1", "child 2", "child 3", "parent after", "parent before"]


def _environ(endpoint: str) -> dict[str, str]:
    return {
        **os.environ, "PYTHONPATH": str(ROOT / "sdk/src"), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "FIRSTCAUSE_METRICS_PORT": "off",
    }  # fmt: skip


@pytest.mark.parametrize("how", ["os", "fork", "spawn", "forkserver", "pool", "terminated"])
def test_children_hand_over_their_own(how: str) -> None:
    """Each piece of work is one span, one record and one line, from an instance of its own for each process."""
    with sink() as collector:
        command = [sys.executable, str(HERE / "apps" / "job.py"), how]
        done = subprocess.run(command, capture_output=True, text=True, env=_environ(collector.url), timeout=60)
        assert (0, "") == (done.returncode, done.stderr)
        assert EXPECTED == sorted(span.name for span in collector.spans)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert EXPECTED == sorted(line["name"] for line in lines)
        assert len(EXPECTED) == len(collector.records)
        by_instance = {span.resource["service.instance.id"]: span.name.split()[0] for span in collector.spans}
        assert set(by_instance) == {record.resource["service.instance.id"] for record in collector.records}
        assert ["parent"] == [who for who in by_instance.values() if who == "parent"]
        assert len(by_instance) in ((2, 3) if how == "pool" else (5,))


FORKED = """
import logging, os, sys, threading
import firstcause
from opentelemetry import trace
firstcause.configure(service="s")
threading.Thread(target=threading.Event().wait, daemon=True).start()
if (child := os.fork()) == 0:
    before = set(sys.modules)
    trace.get_tracer("t").start_span("last").end()
    firstcause.get_logger().info("told")
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger("t").exception("told")
    print(firstcause.flush(20), sorted(set(sys.modules) - before), file=sys.stderr, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_fork_waits_for_every_import_that_a_thread_of_ours_may_be_at() -> None:
    """What the parent's threads had half imported would never end in the child: there is nothing left to import."""
    with sink() as collector:
        environ = {**_environ(collector.url), "OTEL_METRICS_EXPORTER": "otlp"}
        done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, env=environ, timeout=60)
        assert "True []\n" == done.stderr


CODE = """
import os, signal, sys, time
import firstcause
from opentelemetry import trace
{before}
firstcause.configure(service="s")
{after}
trace.get_tracer("t").start_span("last").end()
print("up", flush=True)
while True:
    time.sleep(0.05)  # no longer: a signal that comes just before it is handled after it
"""


def _signalled(endpoint: str, before: str = "", after: str = "", times: int = 1) -> tuple[int, str]:
    code = CODE.format(before=before, after=after)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environ(endpoint)
    )
    assert process.stdout is not None
    assert "up\n" == process.stdout.readline()
    for _ in range(times):
        process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    return process.wait(30), rest


def test_sigterm_ends_the_process_as_it_would_have(  ) -> None:
    """With no handler of the host's, the span of a moment ago arrives and the exit status is the signal's."""
    with sink() as collector:
        assert (-signal.SIGTERM, "") == _signalled(collector.url)
        assert ["last"] == [span.name for span in collector.spans]


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_handler_of_the_host_stays(where: str) -> None:
    """Set before or after us, it runs alone; its exit flushes."""
    handler = "signal.signal(signal.SIGTERM, lambda *_: (print('theirs', flush=True), sys.exit(7)))"
    with sink() as collector:
        assert (7, "theirs\n") == _signalled(collector.url, **{where: handler})
        assert ["last"] == [span.name for span in collector.spans]


def test_ignored_stays_ignored() -> None:
    """A host that ignores SIGTERM goes on ignoring it."""
    code = CODE.format(before="signal.signal(signal.SIGTERM, signal.SIG_IGN)", after="print(signal.getsignal(15), flush=True); sys.exit(0)")
    with sink() as collector:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environ(collector.url))
        assert ("1\n", 0) == (done.stdout, done.returncode)  # SIG_IGN


def test_a_second_sigterm_ends_it_at_once() -> None:
    """While the collector hangs, the second signal does not wait for the bound of the first."""
    with sink("hang") as collector:
        environ = {**_environ(collector.url), "FIRSTCAUSE_SHUTDOWN_S": "30", "OTEL_LOGS_EXPORTER": "none"}
        process = subprocess.Popen([sys.executable, "-c", CODE.format(before="", after="")], stdout=subprocess.PIPE, env=environ)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        with collector.came:
            assert collector.came.wait_for(lambda: collector.posts, 20)  # the first is being served
        process.send_signal(signal.SIGTERM)
        assert -signal.SIGTERM == process.wait(10)


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise SystemExit", "sys.exit()", "1 / 0"])
def test_every_ordinary_end_flushes(end: str) -> None:
    """Return, exit or exception: what was recorded arrives."""
    code = CODE.format(before="", after="trace.get_tracer('t').start_span('last').end()\n" + end)
    with sink() as collector:
        subprocess.run([sys.executable, "-c", code], capture_output=True, env=_environ(collector.url), timeout=30)
        assert ["last"] == [span.name for span in collector.spans]


GEVENT = """
import firstcause
from opentelemetry import trace
{early}
from gevent import monkey; monkey.patch_all()
setup = firstcause.configure(service="s")
import gevent
def work(n):
    trace.get_tracer("t").start_span(str(n)).end()
    gevent.sleep(0)
gevent.joinall([gevent.spawn(work, n) for n in range(20)])
print([line for line in [*setup.attached, *setup.warnings] if "gevent" in line][0].split(":")[0], firstcause.flush(10))
"""


@pytest.mark.parametrize(
    ("early", "said", "spans"),
    [
        ("", "gevent True", 20),
        ("firstcause.configure(service='s', metrics_exporters=('none',))", "gevent True", 20),
        (
            "firstcause.configure(service='s'); trace.get_tracer('t').start_span('x').end()",
            "gevent patched the threads under our feet True",
            1,
        ),
    ],
)
def test_gevent_works_or_is_refused_in_words(early: str, said: str, spans: int) -> None:
    """Patched before us or before our first thread it works; later we say so, step aside, and nothing hangs."""
    pytest.importorskip("gevent", reason="pip install gevent")
    with sink() as collector:
        command = [sys.executable, "-c", GEVENT.format(early=early)]
        done = subprocess.run(command, capture_output=True, text=True, env=_environ(collector.url), timeout=60)
        assert 0 == done.returncode, done.stderr
        assert said in done.stdout
        assert spans == len(collector.spans)
