"""The command line, the report and the collector in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import encode_logs  # type: ignore[attr-defined]
from opentelemetry.exporter.otlp.proto.http.metric_exporter import encode_metrics  # type: ignore[attr-defined]
from opentelemetry.exporter.otlp.proto.http.trace_exporter import encode_spans  # type: ignore[attr-defined]

from firstcause.doctor import command, wire
from firstcause.doctor.examination import Check, Context, Finding, Result
from firstcause.doctor.report import as_json, as_text, worst
from firstcause.doctor.startline import StartLine, parse
from tests.sdk.doctor.defects import CASES

BAD = Result(Check("bad", "It is good", "error", lambda _c: ()), (Finding("it is bad", "here", "make it good"),))
DUBIOUS = Result(Check("dubious", "It is sure", "warning", lambda _c: ()), (Finding("it is not", "there", "ask"),))
FINE = Result(Check("fine", "It is fine", "error", lambda _c: ()))
SKIPPED = Result(Check("skipped", "Nobody knows", "error", lambda _c: ()), skipped="no application given")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("uvicorn shop.main:app --workers 4 --host 0.0.0.0", ("uvicorn", "shop.main:app", 4, "", "0.0.0.0")),
        ("gunicorn -k gevent --workers=3 --bind=:8000 shop:make()", ("gunicorn", "shop:make()", 3, "gevent", "")),
        ("/usr/bin/hypercorn shop:app -b 10.0.0.1:80 -w 2", ("hypercorn", "shop:app", 2, "", "10.0.0.1")),
        ("firstcause run uvicorn shop:app", ("uvicorn", "shop:app", 1, "", "")),
        ("python -m firstcause run uvicorn shop:app", ("uvicorn", "shop:app", 1, "", "")),
        ("uvicorn shop:app --host ::1", ("uvicorn", "shop:app", 1, "", "::1")),
        ("hypercorn shop:app --bind [::1]:80", ("hypercorn", "shop:app", 1, "", "[::1]")),
        ("gunicorn --bind unix:/run/shop.sock shop:app", ("gunicorn", "shop:app", 1, "", "")),
        ("python worker.py", ("", "", 1, "", "")),
        ("", ("", "", 1, "", "")),
    ],
)
def test_a_start_command_is_read(words: str, wanted: tuple[str, str, int, str, str]) -> None:
    """Server, application, workers, their class, and the address."""
    line = parse(words.split(), {})
    assert wanted == (line.server, line.app, line.workers, line.worker_class, line.host)
    assert line.by_run is ("firstcause run" in words)


def test_the_gravest_finding_is_the_status_of_the_report() -> None:
    """What was skipped does not count."""
    assert ["error", "warning", "ok"] == [worst(r) for r in ([BAD, DUBIOUS, FINE], [DUBIOUS, FINE], [FINE, SKIPPED])]


def test_the_readable_report_has_the_gravest_first_and_colours_only_where_wanted() -> None:
    """Each finding comes with its place and its fix."""
    made = Context({}, StartLine())
    plain = as_text([FINE, SKIPPED, DUBIOUS, BAD], made, colours=False)
    order = [plain.index(text) for text in ("It is good", "make it good", "It is sure", "It is fine", "no application")]
    assert sorted(order) == order
    assert "error: 1, warning: 1, note: 0, ok: 1, skipped: 1" in plain
    assert "\x1b[" not in plain
    assert "\x1b[31m" in as_text([BAD], made, colours=True)


def test_the_json_report_keeps_its_schema() -> None:
    """Readers of schema 1 find these fields."""
    report = as_json([BAD], Context({}, StartLine()))
    assert {"schema", "service", "status", "checks", "observed"} == set(report)
    assert {
        "id": "bad", "title": "It is good", "severity": "error", "status": "error", "skipped": "",
        "findings": [{"what": "it is bad", "where": "here", "fix": "make it good"}],
    } == report["checks"][0]  # fmt: skip


def test_the_exit_code_says_how_bad_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """0 without errors, 1 for warnings where they count, 2 with errors."""
    for results, argv, code in (
        ([FINE, DUBIOUS], [], 0), ([FINE, DUBIOUS], ["--strict"], 1), ([FINE], ["--strict"], 0), ([BAD], [], 2),
    ):  # fmt: skip
        monkeypatch.setattr(command, "examine", lambda _checks, _context, results=results: results)
        assert code == command.main([*argv, "--json"])
        json.loads(capsys.readouterr().out)


def test_every_check_has_an_id_of_its_own_and_a_question_in_its_title() -> None:
    """The ids are what scripts know checks by."""
    ids = [check.id for check in command.CHECKS]
    assert len(set(ids)) == len(ids)
    assert [] == [check.id for check in command.CHECKS if check.title.endswith(".") or not check.run.__doc__]


def test_every_check_has_a_defect_that_it_finds() -> None:
    """In a service of `defects`, or by itself in `test_checks`."""
    alone = Path(__file__).with_name("test_checks.py").read_text()
    tested = {found for case in CASES.values() for found in case.found}
    assert [] == [check.id for check in command.CHECKS if check.id not in tested and f'"{check.id}"' not in alone]


@pytest.mark.parametrize(("argv", "code"), [(["--help"], 0), (["--nonsense"], command.USAGE)])
def test_help_explains_the_exit_codes_and_nonsense_has_one_of_its_own(argv: list[str], code: int) -> None:
    """A mistyped option is not an error of the service."""
    root = Path(__file__).resolve().parents[3]
    program = [sys.executable, "-m", "firstcause.doctor", *argv]
    made = subprocess.run(program, capture_output=True, text=True, env={"PYTHONPATH": str(root / "sdk/src")})
    assert code == made.returncode
    assert ("exit codes" in made.stdout) is (code == 0)


def as_any(value: Any) -> Any:
    """The stock SDK's own types do not fit each other."""
    return value


def test_what_the_stock_exporters_encode_is_read_back() -> None:
    """Spans, log records and histograms, as the OpenTelemetry SDK writes them."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanKind

    attributes: Any = {"text": "wörter", "whole": 7, "flag": True, "real": 0.5}
    span = TracerProvider().get_tracer("scope").start_span("name", kind=SpanKind.SERVER, attributes=attributes)
    span.end()
    (read,) = wire.spans(encode_spans([as_any(span)]).SerializeToString())
    context = span.get_span_context()
    assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == (read.trace_id, read.span_id)
    assert ("name", wire.SERVER, "scope", attributes) == (read.name, read.kind, read.scope, read.attributes)

    logs, kept = LoggerProvider(), as_any(InMemoryLogRecordExporter)()
    logs.add_log_record_processor(SimpleLogRecordProcessor(kept))
    logs.get_logger("scope").emit(body="said", attributes={"n": 1})
    (record,) = wire.records(encode_logs(kept.get_finished_logs()).SerializeToString())
    assert ("said", {"n": 1}) == (record.body, record.attributes)

    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("scope")
    meter.create_histogram("wait", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1.0]).record(0.5)
    (metric,) = wire.metrics(encode_metrics(as_any(reader.get_metrics_data())).SerializeToString())
    assert ("wait", "s", (0.1, 1.0)) == (metric.name, metric.unit, metric.bounds)
