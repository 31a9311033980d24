"""Records of the `logging` module: all of them, once, with ids, whatever the host does with its own set-up."""

from __future__ import annotations

import io
import logging
import logging.config
import logging.handlers
import queue
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from firstcause import _guard
from tests.sdk.clients.workbench import Workbench
from tests.sdk.logs.conftest import Pipeline, without_pytest

SDK = Path(__file__).resolve().parents[3] / "sdk" / "src"
DICT: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}


def test_a_record_is_a_line_and_is_exported(pipeline: Pipeline) -> None:
    """Level, text, logger's name and the caller's own fields."""
    logging.getLogger("shop.orders").warning("order %d late", 7, extra={"customer": {"plan": "gold", "pin": 1}})
    (line,), (record,) = pipeline.printed, pipeline.records
    assert ("warning", "order 7 late", "shop.orders", {"plan": "gold", "pin": "[redacted]"}) == (
        line["level"], line["event"], line["logger"], line["customer"]
    )  # fmt: skip
    assert (13, "WARNING", "order 7 late") == (record.severity_number, record.severity_text, record.body)


def test_a_record_in_a_unit_has_its_ids(pipeline: Pipeline) -> None:
    """Trace, span, request, session and user; nothing of them outside."""
    with Workbench().unit() as unit:
        unit.session_id, unit.user_hash = "5e551011", "0badcafe"
        logging.getLogger("a").info("inside", extra={"session_id": "theirs", "trace_id": "theirs"})
    logging.getLogger("a").info("outside")
    inside, outside = pipeline.printed
    assert (f"{unit.span.trace_id:032x}", f"{unit.span.span_id:016x}", "request-1", "5e551011", "0badcafe", "/work") == (
        inside["trace_id"], inside["span_id"], inside["request_id"], inside["session_id"], inside["user_hash"],
        inside["route"],
    )  # fmt: skip
    assert "theirs" == inside["trace_id_"]
    assert unit.span.trace_id == pipeline.records[0].trace_id
    assert {"trace_id", "request_id"}.isdisjoint(outside)


HOSTS = {
    "dictConfig": lambda: logging.config.dictConfig(DICT),
    "basicConfig": lambda: logging.basicConfig(level=logging.INFO),
    "basicConfig, force": lambda: logging.basicConfig(level=logging.INFO, force=True),
    "celery": lambda: setattr(logging.getLogger(), "handlers", [logging.StreamHandler(sys.__stderr__)]),
    "a queue": lambda: logging.getLogger().addHandler(logging.handlers.QueueHandler(queue.Queue())),
}


@pytest.mark.parametrize("host", HOSTS)
def test_what_the_host_prints_it_prints_alone(pipeline: Pipeline, host: str) -> None:
    """Its set-up after ours takes effect, does not drop us, and no line is on the console twice."""
    without_pytest()
    HOSTS[host]()
    assert 1 == len(logging.getLogger().handlers)
    logging.getLogger("shop").warning("once")
    assert (["once"], []) == (pipeline.said, pipeline.printed)


@pytest.mark.parametrize(("set_up", "theirs"), [({}, []), ({"level": "INFO"}, ["quiet"])])
def test_our_level_is_not_the_hosts(pipeline: Pipeline, set_up: dict[str, Any], theirs: list[str]) -> None:
    """A console that is set up after us shows INFO lines only if the host asked for them; somebody always does."""
    without_pytest()
    stream = io.StringIO()
    logging.basicConfig(handlers=[console := logging.StreamHandler(stream)], format="%(message)s", **set_up)
    console.stream = stream
    logging.getLogger("shop").info("quiet")
    assert (["quiet"], theirs) == (pipeline.said, stream.getvalue().splitlines())


def test_a_host_that_set_up_logging_first_keeps_its_level() -> None:
    """INFO lines that its console did not show before us, it does not show after."""
    code = (
        "import logging; logging.basicConfig()\n"
        "from firstcause.logs import install; install('shop', None, None, stdlib=True)\n"
        "logging.getLogger('x').info('quiet'); logging.getLogger('x').warning('loud')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SDK)})
    assert "WARNING:x:loud\n" == done.stderr


@pytest.mark.parametrize(
    "handler",
    [
        logging.NullHandler(), logging.StreamHandler(io.StringIO()), logging.handlers.MemoryHandler(1),
        logging.handlers.SysLogHandler(),
    ],
    ids=lambda handler: type(handler).__name__,
)  # fmt: skip
def test_a_handler_that_prints_nothing_leaves_printing_to_us(pipeline: Pipeline, handler: logging.Handler) -> None:
    """Files, mail, sockets and buffers are no console."""
    logging.getLogger("shop").addHandler(handler)
    logging.getLogger("shop").info("once")
    assert ["once"] == [line["event"] for line in pipeline.printed]


def test_a_handlers_level_counts(pipeline: Pipeline) -> None:
    """What the host's console leaves out we print."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    logging.getLogger("shop").info("ours")
    logging.getLogger("shop").error("theirs")
    assert (["ours", "theirs"], ["ours"]) == (pipeline.said, [line["event"] for line in pipeline.printed])


def test_loggers_that_do_not_propagate_are_taken(pipeline: Pipeline) -> None:
    """gunicorn's and uvicorn's own loggers come to no root handler."""
    logger = logging.getLogger("gunicorn.error")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.info("booting")
    assert ["booting"] == pipeline.said


def test_nothing_is_printed_as_a_last_resort(pipeline: Pipeline, capfd: pytest.CaptureFixture[str]) -> None:
    """Without handlers Python prints warnings to standard error: we have printed them already."""
    logging.getLogger("shop").warning("once")
    assert ("", ["once"]) == (capfd.readouterr().err, [line["event"] for line in pipeline.printed])


def test_a_record_that_comes_back_is_known(pipeline: Pipeline) -> None:
    """A handler that hands records to another logger makes no second one."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logging.getLogger("copy").handle(record)

    logging.getLogger("shop").addHandler(Forward())
    logging.getLogger("shop").warning("once")
    assert ["once"] == pipeline.said


def test_the_hosts_format_may_name_ids(pipeline: Pipeline) -> None:
    """By the names of OpenTelemetry's own instrumentation, in units and outside."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(otelTraceID)s %(firstcause_request_id)s %(otelServiceName)s %(message)s"))
    logging.getLogger().addHandler(handler)
    with Workbench().unit() as unit:
        logging.getLogger("shop").warning("in")
    logging.getLogger("shop").warning("out")
    assert f"{unit.span.trace_id:032x} request-1 shop in\n0  shop out\n" == stream.getvalue()


def test_exceptions_are_told_without_their_secrets(pipeline: Pipeline) -> None:
    """Type and stack are there, what stands behind a secret's name is not, wherever the stack is cut."""
    try:
        raise LookupError("x" * 20_000 + "postgresql://shop:hunter2@db/shop [parameters: ('hunter2',)]")
    except LookupError:
        logging.getLogger("shop").exception("failed", stack_info=True, extra={"dsn": "hunter2"})
    (line,) = pipeline.printed
    assert ("LookupError", True) == (line["exception.type"], "stack" in line)
    assert "hunter2" not in str(line) + str(pipeline.records)
    assert len(line["exception.stacktrace"]) <= 8192


def test_values_are_bounded_at_any_depth(pipeline: Pipeline) -> None:
    """Wide, deep, long and endless values are cut to the bound of a record, and that is counted."""
    endless: dict[str, Any] = {}
    endless["me"] = endless
    deep: Any = "bottom"
    for _ in range(50):
        deep = [deep]
    extra = {"wide": {str(n): "x" * 100 for n in range(5_000)}, "deep": deep, "endless": endless, "long": "y" * 100_000}
    logging.getLogger("shop").info("big", extra=extra)
    (line,) = pipeline.printed
    assert 256 == len(line["wide"])
    assert len(pipeline.stream.getvalue()) < 100_000
    assert 1 == sum(n for (name, _), n in _guard.self_counts().items() if name == "firstcause.self.overflow")


def test_a_value_that_logs_does_not_loop(pipeline: Pipeline) -> None:
    """What is logged while a record is being made is the host's alone."""

    class Chatty:
        def __str__(self) -> str:
            logging.getLogger("shop").warning("while at it")
            return "chatty"

    logging.getLogger("shop").info("hello", extra={"who": Chatty()})
    assert (["hello"], "chatty") == (pipeline.said, pipeline.printed[0]["who"])


def test_a_broken_output_does_not_reach_the_host(pipeline: Pipeline) -> None:
    """An exporter that raises is counted; the host's own handlers still get the record."""
    stream = io.StringIO()
    logging.getLogger("shop").addHandler(logging.StreamHandler(stream))

    def broken(_record: object) -> None:
        logging.getLogger("shop").error("export failed")
        raise RuntimeError

    from firstcause.logs import install

    install("shop", None, broken, stdlib=True)
    logging.getLogger("shop").warning("kept")
    assert ["export failed", "export failed", "kept"] == stream.getvalue().splitlines()
    assert 0 < sum(n for (name, _), n in _guard.self_counts().items() if name == "firstcause.self.errors")


def test_our_own_threads_feed_nothing_back(pipeline: Pipeline) -> None:
    """What the exporter's thread logs is the host's alone."""
    import threading

    thread = threading.Thread(target=logging.getLogger("http").warning, args=("refused",), name="firstcause-logs")
    thread.start()
    thread.join()
    assert [] == pipeline.said


def test_taking_and_leaving_puts_logging_back() -> None:
    """After `uninstall` the module is as it was."""
    from firstcause.logs import install, uninstall

    before = logging.Logger.callHandlers, logging.getLogRecordFactory()
    install("shop", None, None, stdlib=True)
    uninstall()
    assert before == (logging.Logger.callHandlers, logging.getLogRecordFactory())


def _kept(seen: list[Any]) -> Any:
    def keep(_logger: Any, _method: str, fields: Any) -> Any:
        seen.append(fields)
        return fields

    return keep


def test_structlog_chains_of_the_hosts_can_add_our_ids(pipeline: Pipeline) -> None:
    """`add_ids` is a processor like any other."""
    import structlog

    from firstcause.logs import add_ids

    seen: list[Any] = []
    logger = structlog.wrap_logger(None, processors=[add_ids, _kept(seen)])
    with Workbench().unit() as unit, pytest.raises(Exception):  # noqa: B017
        logger.info("paid")
    assert (f"{unit.span.trace_id:032x}", "request-1") == (seen[0]["trace_id"], seen[0]["request_id"])


def test_nested_fields_arrive_nested(pipeline: Pipeline) -> None:
    """Off the wire, a dictionary in a field is a dictionary, uncut."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    from firstcause.export.otlp import encode_logs

    logging.getLogger("shop").info("paid", extra={"order": {"id": 7, "lines": [{"sku": "a"}, {"sku": "b"}]}})
    request = ExportLogsServiceRequest.FromString(encode_logs({}, pipeline.records))
    (pair,) = [p for p in request.resource_logs[0].scope_logs[0].log_records[0].attributes if p.key == "order"]
    order = {p.key: p.value for p in pair.value.kvlist_value.values}
    assert 7 == order["id"].int_value
    assert "b" == order["lines"].array_value.values[1].kvlist_value.values[0].value.string_value
