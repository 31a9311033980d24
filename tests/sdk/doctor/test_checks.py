"""The checks that need no application, each on exactly its defect."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any

import pytest

from firstcause._config import Config
from firstcause._errors import ConfigError
from firstcause._setup import Setup
from firstcause.doctor import Check, Context, Finding, attachment, evidence, network, processes, settings, versions
from firstcause.doctor.examination import examine
from firstcause.doctor.observation import Observed, Query
from firstcause.doctor.startline import parse
from firstcause.doctor.wire import Collector
from tests import parts

KEYS = {"FIRSTCAUSE_MESH_KEY": "a key of the whole deployment", "FIRSTCAUSE_USER_KEY": "a key for users only"}
ORIGIN = {"OTEL_RESOURCE_ATTRIBUTES": "service.version=1,deployment.environment.name=test"}
ENVIRON = {"OTEL_SERVICE_NAME": "shop", "FIRSTCAUSE_METRICS_PORT": "0", **KEYS, **ORIGIN}


def context(command: str = "", without: str = "", **environ: str) -> Context:
    """A healthy environment, changed."""
    given = {name: value for name, value in {**ENVIRON, **environ}.items() if name != without}
    made = Context(given, parse(command.split(), given))
    try:
        made.config = Config.from_env(given)
    except ConfigError as error:
        made.problems = error.problems
    return made


def found(checks: tuple[Check, ...], made: Context) -> dict[str, list[Finding]]:
    """Findings by check."""
    results = examine(checks, made)
    assert [] == [result.skipped for result in results if result.skipped.startswith("the check failed")]
    return {result.check.id: list(result.findings) for result in results if result.findings}


def test_settings_without_a_defect_have_no_findings() -> None:
    """Nothing is found in an environment that has all that is wanted."""
    assert {} == found(settings.CHECKS, context("uvicorn shop:app --host 0.0.0.0 --workers 4"))


@pytest.mark.parametrize(
    ("check", "made", "where"),
    [
        ("settings", lambda: context(OTEL_BSP_SCHEDULE_DELAY="soon"), "OTEL_BSP_SCHEDULE_DELAY"),
        ("service-name", lambda: context(without="OTEL_SERVICE_NAME"), "OTEL_SERVICE_NAME"),
        ("disabled", lambda: context(OTEL_SDK_DISABLED="true"), "OTEL_SDK_DISABLED"),
        ("signals", lambda: context(OTEL_TRACES_EXPORTER="none"), "OTEL_TRACES_EXPORTER"),
        ("signals", lambda: context(OTEL_LOGS_EXPORTER="none"), "OTEL_LOGS_EXPORTER"),
        ("sampler", lambda: context(OTEL_TRACES_SAMPLER="always_off"), "OTEL_TRACES_SAMPLER"),
        ("batch", lambda: context(OTEL_BSP_MAX_EXPORT_BATCH_SIZE="60000", OTEL_BSP_MAX_QUEUE_SIZE="90000"),
         "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
        ("mesh-key", lambda: context("gunicorn shop:app --bind=0.0.0.0:80", "FIRSTCAUSE_MESH_KEY"), "FIRSTCAUSE_MESH_KEY"),
        ("mesh-key", lambda: context("", "FIRSTCAUSE_MESH_KEY", FIRSTCAUSE_MESH_HOSTS=".shop.example"), "FIRSTCAUSE_MESH_KEY"),
        ("user-key", lambda: context(without="FIRSTCAUSE_USER_KEY"), "FIRSTCAUSE_USER_KEY"),
        ("origin", lambda: context(OTEL_RESOURCE_ATTRIBUTES="service.version=1"), "OTEL_RESOURCE_ATTRIBUTES"),
        ("objectives", lambda: context(FIRSTCAUSE_OBJECTIVES="default=500"), "FIRSTCAUSE_OBJECTIVES"),
    ],
)  # fmt: skip
def test_a_setting_is_found_by_its_check_alone(check: str, made: Callable[[], Context], where: str) -> None:
    """One wrong variable, one finding, and it names the variable."""
    findings = found(settings.CHECKS, made())
    assert [check] == list(findings)
    assert [where] == [finding.where for finding in findings[check]]


def test_the_port_of_the_other_protocol_is_found_for_each_signal() -> None:
    """4317 with HTTP refuses everything; so does 4318 with gRPC."""
    findings = found(settings.CHECKS, context(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317"))
    assert ["protocol-port"] == list(findings)
    assert 3 == len(findings["protocol-port"])
    other = context(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert ["protocol-port"] == list(found(settings.CHECKS, other))


# -- processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "environ", "ids"),
    [
        ("uvicorn shop:app --workers 4", {}, []),
        ("waitress-serve shop:app", {"WEB_CONCURRENCY": "4"}, ["shared-metrics"]),
        ("waitress-serve shop:app", {"WEB_CONCURRENCY": "4", "FIRSTCAUSE_METRICS_DIR": "/run/shop"}, []),
        ("waitress-serve shop:app -w 4", {"OTEL_METRICS_EXPORTER": "otlp"}, []),
        ("uvicorn shop:app --host 0.0.0.0", {}, ["deaf-port"]),
        ("gunicorn -k gevent --preload shop:app", {}, ["gevent"]),
    ],
)
def test_what_a_start_command_gets_wrong_about_processes(command: str, environ: dict[str, str], ids: list[str]) -> None:
    """Workers that nobody adds up, a port that nobody reaches, a patch that comes too late."""
    assert ids == list(found(processes.CHECKS, context(command, **environ)))


def test_a_port_of_metrics_that_is_taken_is_found_unless_this_service_has_it() -> None:
    """A second service on the port is an error; the running service itself is not."""
    with listening(lambda _path: (200, {}, b'up{service_name="other"} 1')) as port:
        assert ["metrics-port"] == list(found(processes.CHECKS, context(FIRSTCAUSE_METRICS_PORT=str(port))))
    with listening(lambda _path: (200, {}, b'up{service_name="shop"} 1')) as port:
        assert [] == list(found(processes.CHECKS, context(FIRSTCAUSE_METRICS_PORT=str(port))))


@pytest.mark.parts
def test_pools_that_are_larger_than_the_server_allows_are_found() -> None:
    """Workers × (pool_size + max_overflow) against what PostgreSQL itself says."""
    import asyncio

    from sqlalchemy import create_engine

    from firstcause.doctor import observation

    with parts.postgres(max_connections=20, superuser_reserved_connections=3) as server:
        url = server.url.replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(url, pool_size=5, max_overflow=5)
        seen = Observed(queries=[asyncio.run(observation._ask(engine, Observed()))])
        engine.dispose()
    assert (10, 17, "") == (seen.queries[0].most, seen.queries[0].max_connections, seen.queries[0].error)
    for workers, ids in (("1", []), ("2", ["pools"])):
        made = context("uvicorn shop:app", WEB_CONCURRENCY=workers)
        made.observed = seen
        assert ids == list(found(processes.CHECKS, made))


# -- the network ------------------------------------------------------------------------------------

Answer = Callable[[str], tuple[int, dict[str, str], bytes]]


@contextmanager
def listening(answer: Answer, date: float | None = None) -> Iterator[int]:
    """A server on a free loopback port that answers everything by `answer(path)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers, **self.echoed()}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name that the base class looks for

        def echoed(self) -> dict[str, str]:
            wanted = answer("echo") == (200, {}, b"")
            return {"x-request-id": self.headers.get("x-request-id", "")} if wanted else {}

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time() if date is None else date, usegmt=True)

        def log_message(self, *_args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def at(port: int, **environ: str) -> Context:
    """A healthy environment with its collector on this port."""
    return context(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", **environ)


def test_a_collector_that_takes_what_is_sent_has_no_findings() -> None:
    """An export of nothing is accepted, and its clock is ours."""
    assert {} == found(network.CHECKS, context(OTEL_EXPORTER_OTLP_ENDPOINT=Collector().url))


def test_a_collector_that_is_away_is_found() -> None:
    """Refused connections are named with the address."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        findings = found(network.CHECKS, at(sock.getsockname()[1]))
    assert ["collector"] == list(findings)
    assert "cannot be reached" in findings["collector"][0].what


@pytest.mark.parametrize(
    ("status", "fix"), [(401, "OTEL_EXPORTER_OTLP_HEADERS"), (404, "without a path"), (500, "own log")]
)
def test_a_collector_that_refuses_is_found_with_the_fix_for_its_status(status: int, fix: str) -> None:
    """Each refusal has a reason of its own."""
    with listening(lambda _path: (status, {}, b"")) as port:
        findings = found(network.CHECKS, at(port))
    assert ["collector"] == list(findings)
    assert fix in findings["collector"][0].fix


@pytest.mark.parametrize(("off_s", "ids"), [(0, []), (90, ["clock"]), (-90, ["clock"])])
def test_a_clock_that_differs_from_the_collectors_is_found(off_s: float, ids: list[str]) -> None:
    """By the Date header of its answer, in either direction."""
    with listening(lambda _path: (200, {}, b""), time() + off_s) as port:
        assert ids == list(found(network.CHECKS, at(port)))


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        ((200, {}, b""), []),
        ((200, {}, b"no id"), ["live"]),
        ((200, {"server-timing": "db;dur=3, fc;desc=x"}, b"no id"), ["live"]),
    ],
)
def test_a_running_service_has_to_give_the_request_id_back(
    answer: tuple[int, dict[str, str], bytes], ids: list[str]
) -> None:
    """And keeps its verdict from callers outside the mesh."""
    with listening(lambda _path: answer) as port:
        made = context(OTEL_EXPORTER_OTLP_ENDPOINT=Collector().url)
        made.url = f"http://127.0.0.1:{port}/"
        findings = found(network.CHECKS, made)
    assert ids == list(findings)
    assert len(findings.get("live", ())) == len(answer[1]) + bool(answer[2])


# -- what cannot be provoked from outside -----------------------------------------------------------


def test_an_adapter_that_is_not_attached_is_found() -> None:
    """By the line of `configure`'s report."""
    made = context()
    made.setup = Setup("shop", attached=["threads", "redis: not attached (ImportError: no Retry)"])
    assert ["adapters"] == list(found((only(attachment.CHECKS, "adapters"),), made))


def test_a_last_flush_that_takes_too_long_is_found() -> None:
    """Longer than the configured bound, against a collector that hangs."""
    made = context()
    made.setup, made.observed = Setup("shop"), Observed(shutdown_s=13.2)
    assert ["flush"] == list(found((only(evidence.CHECKS, "flush"),), made))
    made.observed.shutdown_s = 2.2
    assert [] == list(found((only(evidence.CHECKS, "flush"),), made))


@pytest.mark.parametrize("check", ["canonical-line", "ledger", "metric"])
def test_a_watched_request_that_leaves_nothing_is_found(check: str) -> None:
    """The answer had the request id, and nothing else came out."""
    made = context()
    made.watched, made.observed = True, Observed()
    assert [check] == list(found((only(evidence.CHECKS, check),), made))


def test_a_pool_without_a_bound_is_found() -> None:
    """`max_overflow=-1` takes as many connections as there are requests."""
    made = context()
    made.observed = Observed(queries=[Query("postgresql://db/shop", 0, booked=True, max_connections=97)])
    assert ["pools"] == list(found((only(processes.CHECKS, "pools"),), made))


def only(checks: tuple[Check, ...], wanted: str) -> Check:
    """The check of an id."""
    return next(check for check in checks if check.id == wanted)


@pytest.mark.parametrize(
    ("version", "bounds", "fits"),
    [("2.1.9", ">=2.0", True), ("2.0", ">=2.0.0", True), ("1.4.52", ">=2.0", False), ("3.0", ">=2,<3", False),
     ("1.45.1", ">=1.45", True), ("0.9rc1", ">=0.10", False), ("5.0", "==5.0", True)],
)  # fmt: skip
def test_a_version_keeps_its_bounds_or_not(version: str, bounds: str, fits: bool) -> None:
    """Numbers are compared as numbers."""
    assert fits == versions.fits(version, bounds)


def test_requirements_of_extras_are_read() -> None:
    """A library that is adapted to is in an extra, with a bound."""
    lines = ["orjson>=3.10", "redis>=5.0; extra == 'redis'", "demo", 'psycopg[binary]>=3.1; extra == "psycopg"']
    assert [("orjson", ">=3.10"), ("redis", ">=5.0"), ("psycopg", ">=3.1")] == list(versions.wanted_versions(lines))


def test_a_library_out_of_range_is_found_by_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed version, what is wanted, and the command that installs it."""
    monkeypatch.setattr(versions, "installed", {"redis": "4.6.0", "orjson": "3.13"}.get)
    monkeypatch.setattr("importlib.metadata.requires", lambda _name: ["orjson>=3.10", "redis>=5.0; extra == 'redis'"])
    findings = found((only(versions.CHECKS, "versions"),), context())
    assert ["pip install 'redis>=5.0'"] == [finding.fix for finding in findings["versions"]]


def test_a_check_that_fails_is_reported_and_hides_no_other() -> None:
    """The error is the reason why it was skipped."""

    def broken(_context: Context) -> list[Finding]:
        raise LookupError("oops")

    results = examine((Check("broken", "It works", "error", broken), *settings.CHECKS), context())
    assert ("skipped", "the check failed: LookupError: oops") == (results[0].status, results[0].skipped)
    assert {"ok"} == {result.status for result in results[1:]}
