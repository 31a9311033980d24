"""loguru: messages once, with ids, whatever sinks the host has and whichever way it joins loguru and logging."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from firstcause.logs import loguru as adapter
from tests.sdk.clients.workbench import Workbench
from tests.sdk.logs.conftest import Pipeline


@pytest.fixture(autouse=True)
def _sinks(pipeline: Pipeline) -> Iterator[None]:
    """Without loguru's own sink, and with ours."""
    logger.remove()
    adapter.instrument()
    yield
    adapter.uninstrument()
    logger.remove()
    logger.add(sys.stderr)


class Intercept(logging.Handler):
    """From `logging` to loguru, as its documentation shows."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.opt(depth=6, exception=record.exc_info).log(record.levelname, record.getMessage())


class Propagate(logging.Handler):
    """From loguru to `logging`, as its documentation shows."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


def test_a_message_has_ids_fields_and_no_secrets(pipeline: Pipeline) -> None:
    """Bound fields are kept and redacted, the exception too; ids are the unit's."""
    with Workbench().unit() as unit:
        unit.session_id, unit.user_hash = "5e551011", "0badcafe"
        try:
            raise LookupError("password=hunter2")
        except LookupError:
            logger.bind(order={"id": 7, "token": "hunter2"}).exception("order {} failed, token={}", 7, "hunter2")
    (line,), (record,) = pipeline.printed, pipeline.records
    assert ("error", "order 7 failed, token=[redacted]", {"id": 7, "token": "[redacted]"}) == (
        line["level"], line["event"], line["order"]
    )  # fmt: skip
    assert (f"{unit.span.trace_id:032x}", "request-1", "5e551011", "0badcafe") == (
        line["trace_id"], line["request_id"], line["session_id"], line["user_hash"]
    )  # fmt: skip
    assert "LookupError" == line["exception.type"]
    assert "hunter2" not in str(line) + str(record)
    assert 17 == record.severity_number


def test_what_the_host_prints_it_prints_alone(pipeline: Pipeline) -> None:
    """A sink on the console shows the message; ours exports it."""
    logger.add(sys.stderr, level="WARNING")
    logger.info("ours")
    logger.success("ours too")
    logger.warning("theirs")
    assert ["ours", "ours too", "theirs"] == pipeline.said
    assert ["ours", "ours too"] == [line["event"] for line in pipeline.printed]


@pytest.mark.parametrize("how", ["remove", "configure"])
def test_clearing_the_sinks_keeps_ours(pipeline: Pipeline, how: str) -> None:
    """The first line of most programs that use loguru takes every sink away."""
    shown: list[Any] = []
    if how == "remove":
        logger.remove()
        logger.add(shown.append, format="{message}")
    else:
        logger.configure(handlers=[{"sink": shown.append, "format": "{message}"}])
    logger.info("once")
    assert (["once"], ["once\n"]) == (pipeline.said, [str(message) for message in shown])


def test_logging_that_ends_in_loguru_is_taken_once(pipeline: Pipeline) -> None:
    """Intercepted records have come past us before."""
    logging.getLogger().addHandler(Intercept())
    logger.add(sys.stderr)
    logging.getLogger("shop").info("once")
    assert ["once"] == pipeline.said


def test_loguru_that_ends_in_logging_is_taken_once(pipeline: Pipeline) -> None:
    """Propagated messages come past us a second time."""
    logger.add(Propagate(), format="{message}")
    logger.info("once")
    assert ["once"] == pipeline.said


def test_debug_messages_cost_nothing_for_us(pipeline: Pipeline) -> None:
    """A level that no sink asks for is not even formatted."""

    class Never:
        def __format__(self, _spec: str) -> str:
            raise AssertionError

    logger.debug("{}", Never())
    assert [] == pipeline.said


def test_leaving_leaves_no_sink(pipeline: Pipeline) -> None:
    """`uninstrument` takes our sink and the patch away."""
    adapter.uninstrument()
    assert {} == adapter._handlers()
    assert "loguru" == type(logger).remove.__module__.partition(".")[0]
