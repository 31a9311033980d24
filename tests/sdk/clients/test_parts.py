"""The real servers that the suite starts leave nothing behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import parts

ROOT = Path(__file__).resolve().parents[3]
HOLD = "from tests import parts\nwith parts.{part}() as p: print(p.process.pid, p.directory, flush=True); input()"


@pytest.mark.parametrize("part", ["postgres", "redis"])
def test_a_server_dies_with_its_parent(part: str) -> None:
    """A parent that is killed outright takes its server with it."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(part=part)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    )
    assert parent.stdout is not None
    pid, directory = parent.stdout.readline().decode().split()
    server = os.pidfd_open(int(pid))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    ended, _, _ = select.select([server], [], [], 10)
    os.close(server)
    subprocess.run(["rm", "-rf", directory], check=True)
    assert [server] == ended


def test_a_stopped_server_leaves_no_directory() -> None:
    """Leaving the block ends the process and removes its data."""
    with parts.redis() as part:
        assert part.directory.is_dir()
    assert (False, 0) == (part.directory.exists(), part.process.poll())


def test_a_server_that_cannot_start_says_why() -> None:
    """The server's own words are in the error."""
    with pytest.raises(RuntimeError, match="no_such_setting"), parts.postgres(no_such_setting="1"):
        pass
