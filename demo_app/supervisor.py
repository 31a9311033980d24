"""Starts and stops the whole shop; leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .parts import STARTUP_S, Postgres, Redis, await_port, end, free_port, spawn
from .relay import Relay
from .switches import VARIABLE, write

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

SERVICES = ("payments", "orders", "gateway", "rum", "worker")
LISTENING = SERVICES[:4]
FAR_S = 1.4
"""A round trip of the slow line: connecting and asking take two, which is more than a good page has."""
# The scheduler shares the core evenly: while all want it, the edge has a thirteenth.
NEIGHBOURS = 12
STATE = Path(tempfile.gettempdir()) / f"firstcause-demo-{os.getuid()}.path"
"""Says where the running demo's switches are, for `python -m demo_app.break`."""
_SWEEPER = """
import os, pathlib, shutil, sys, time
sys.stdin.read()
directory, state = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
# What is killed with us may still write while it ends: remove until nothing comes back.
for _ in range(100):
    shutil.rmtree(directory, ignore_errors=True)
    if not directory.exists():
        break
    time.sleep(0.1)
if state.exists() and state.read_text().startswith(str(directory)):
    state.unlink()
"""
"""Its end of a pipe closes when we are gone, kill −9 included; the parts themselves die by PR_SET_PDEATHSIG."""


def accepted(server: Engine) -> Connection:
    """A connection as soon as the server accepts one: PostgreSQL listens a little earlier."""
    from sqlalchemy.exc import OperationalError

    limit = time.monotonic() + STARTUP_S
    while True:
        try:
            return server.connect()
        except OperationalError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.05)


OBJECTIVES = Path(__file__).resolve().parent.parent / "alerts" / "generated" / "objectives"


def objectives(service: str) -> dict[str, str]:
    """The limits that the alert rules hold a service to, as settings of its SDK; none where there are no objectives."""
    path = OBJECTIVES / f"{service}.env"
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class Shop:
    """The running shop: data directory, parts, services. Use as a context manager."""

    def __init__(self, collector: str, tell: Callable[[str], None] = print) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="firstcause-demo-"))
        self.directory.chmod(0o755)  # PostgreSQL may run as another user, and has to get in
        self._collector, self._tell = collector, tell
        self._sweeper = subprocess.Popen(
            [sys.executable, "-S", "-c", _SWEEPER, str(self.directory), str(STATE)],
            # Ctrl-C goes to the whole foreground group of a terminal; the sweeper has to outlive it.
            stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._cores = os.sched_getaffinity(0)
        self._core, self._quiet_core = min(self._cores), max(self._cores)
        self.switches = str(self.directory / "switches.json")
        self.on: set[str] = set()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {name: free_port() for name in SERVICES}
        self.metrics = {name: free_port() for name in SERVICES}
        self.relay = Relay()
        """The line of visitors from South America."""
        self._neighbours: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        # The runner's threads, load and relay among them, inherit this: they must not compete with the edge.
        os.sched_setaffinity(0, {self._quiet_core})
        write(self.switches, set())
        self.relay.start()
        self._tell("starting PostgreSQL")
        self.postgres = Postgres(self.directory, self._quiet_core)
        database = self.postgres.start()
        self._schema(database)
        self._tell("starting two Redis servers (cache, queue)")
        self.cache = Redis(self.directory, "cache", self._quiet_core)
        self.queue = Redis(self.directory, "queue", self._quiet_core)
        urls = {"REDIS_URL": self.cache.start(), "QUEUE_URL": self.queue.start()}
        for name in SERVICES:
            self._tell(f"starting {name}")
            own = "payments" if name == "payments" else "shop"
            self._service(name, {**urls, "DATABASE_URL": f"{database}/{own}"})
        for name in LISTENING:
            await_port(self.ports[name], self.processes[name], self.log(name))
        STATE.write_text(self.switches)  # last: `demo_app.break` takes it for a shop that runs

    def _schema(self, database: str) -> None:
        from sqlalchemy import create_engine, text

        from .schema import DATABASES, tables

        # CREATE DATABASE is refused inside a transaction.
        server = create_engine(f"{database}/postgres", isolation_level="AUTOCOMMIT")
        with accepted(server) as connection:
            for name in DATABASES:
                connection.execute(text(f"CREATE DATABASE {name}"))
        server.dispose()
        for name, schema in DATABASES.items():
            engine = create_engine(f"{database}/{name}")
            with engine.begin() as connection:
                tables(connection, schema)
            engine.dispose()

    def _service(self, name: str, urls: dict[str, str]) -> None:
        environ = {
            # Whoever starts the demo may observe services of their own; those settings are not the shop's.
            **{k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "FIRSTCAUSE_"))},
            **urls,
            "PORT": str(self.ports[name]),
            "ORDERS_URL": f"http://127.0.0.1:{self.ports['orders']}",
            "PAYMENTS_URL": f"http://127.0.0.1:{self.ports['payments']}",
            "RUM_URL": f"http://127.0.0.1:{self.ports['rum']}",
            VARIABLE: self.switches,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._collector,
            "FIRSTCAUSE_METRICS_PORT": str(self.metrics[name]),
            "FIRSTCAUSE_MESH_KEY": self._key,
            "FIRSTCAUSE_USER_KEY": self._key,
            **objectives(name),
            **(self._of_rum if name == "rum" else {}),
            "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.0.0,deployment.environment.name=demo",
        }
        module = ["firstcause_rum", "--port", str(self.ports[name])] if name == "rum" else [f"demo_app.{name}"]
        command = [sys.executable, "-m", *module]
        # The edge has a core for itself, so that what burns it does not also slow down those behind it.
        core = self._core if name == "gateway" else self._quiet_core
        self.processes[name] = spawn(command, self.log(name), core, env=environ)

    # The same for all: each believes verdicts of the others, and the endpoint the marks of gateway's pages.
    _key = secrets.token_hex(16)

    @property
    def _of_rum(self) -> dict[str, str]:
        """Settings of the RUM endpoint: browsers here are all automated, and a window of minutes lasts seconds."""
        origin = f"http://127.0.0.1:{self.ports['gateway']}"
        # Blame may not wait: the shortest window of the rules lasts 5 s here, and has to see it in time.
        settings = {"ORIGINS": origin, "COUNT_TESTS": "true", "SETTLE_S": "6", "SETTLE_LATE_S": "6", "BLAME_S": "0"}
        return {f"FIRSTCAUSE_RUM_{name}": value for name, value in settings.items()}

    def log(self, name: str) -> Path:
        """Where a service's output goes."""
        return self.directory / f"{name}.log"

    # -- breaking things -------------------------------------------------------------------------

    def break_(self, fault: str) -> None:
        """Switch one fault on."""
        self._outside_on(fault)
        self.on.add(fault)
        write(self.switches, self.on)

    def follow(self) -> None:
        """Do what `python -m demo_app.break` switched in the file since the last call."""
        wanted = set(json.loads(Path(self.switches).read_text()))
        for fault in wanted - self.on:
            self._outside_on(fault)
        for fault in self.on - wanted:
            self._outside_off(fault)
        self.on = wanted

    def _outside_on(self, fault: str) -> None:
        """What no service can do to itself."""
        if fault == "cache_down":
            self.cache.stop()
        elif fault == "slow_region":
            self.relay.delay_s = FAR_S
        elif fault == "busy_neighbour":
            burn = [sys.executable, "-S", "-c", "while True: pass"]
            log = self.directory / "neighbours.log"
            self._neighbours = [spawn(burn, log, self._core) for _ in range(NEIGHBOURS)]

    def mend(self, fault: str) -> None:
        """Switch one fault off."""
        self.on.discard(fault)
        # Before the repair: a checkout in between would leak once more.
        write(self.switches, self.on)
        self._outside_off(fault)

    def _outside_off(self, fault: str) -> None:
        if fault == "cache_down":
            self.cache.start()
        elif fault == "slow_region":
            self.relay.delay_s = 0.0
        elif fault == "busy_neighbour":
            for process in self._neighbours:
                end(process, signal.SIGKILL)
            self._neighbours = []
        elif fault == "pool_leak":
            import httpx

            httpx.post(f"http://127.0.0.1:{self.ports['orders']}/repair", timeout=10)

    def stop(self) -> None:
        """Stop everything, services first, and remove the data."""
        for process in [*self._neighbours, *reversed(self.processes.values())]:
            end(process, signal.SIGTERM)
        for name in ("cache", "queue", "postgres"):
            part = getattr(self, name, None)
            # A start that failed halfway ends here too: what it had not come to is missing, or has no process.
            if part is not None and hasattr(part, "process"):
                part.stop()
        self.relay.close()
        os.sched_setaffinity(0, self._cores)  # another shop of this process wants both
        STATE.unlink(missing_ok=True)
        if self._sweeper.stdin is not None:
            self._sweeper.stdin.close()
        self._sweeper.wait()
