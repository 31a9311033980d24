"""Nothing is left of the shop, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STARTER = """
import sys, threading
from demo_app.chromium import chromium
from demo_app.supervisor import Shop
from demo_app.visitors import AWAY, Real
shop = Shop("http://127.0.0.1:9", lambda text: None).__enter__()
pids = [shop.postgres.process.pid, shop.cache.process.pid, shop.queue.process.pid]
pids += [process.pid for process in shop.processes.values()]
if chromium():
    visitor = Real(shop.directory, AWAY, shop.relay)
    pids.append(visitor._browser.process.pid)
print(shop.directory, shop._sweeper.pid, *pids, flush=True)
threading.Event().wait()
"""


@pytest.mark.parts
def test_kill_nine_leaves_nothing() -> None:
    """The supervisor is killed by SIGKILL: every process of the shop ends, and the data is removed."""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", STARTER], cwd=root, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        directory, *pids = starter.stdout.readline().split()
        watched = [os.pidfd_open(int(pid)) for pid in pids]
        assert Path(directory).exists()
        starter.send_signal(signal.SIGKILL)
    for descriptor in watched:
        await_end(descriptor)
    assert not Path(directory).exists()


def await_end(descriptor: int) -> None:
    """Wait until the process behind a pidfd has ended, for at most 20 s."""
    import select

    ended, _, _ = select.select([descriptor], [], [], 20)
    os.close(descriptor)
    assert ended == [descriptor]
