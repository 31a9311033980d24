"""structlog and stdlib logging through one renderer, with ids on every line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, MutableMapping
from time import time_ns
from typing import TYPE_CHECKING, Any, cast

from .._guard import count, guard
from ..diagnosis.unit import current_unit
from .records import SEVERITIES, LogRecord
from .redaction import redact_mapping
from .stream import Lines

if TYPE_CHECKING:
    import structlog

VALUE = 8192
"""Characters of one value on a line; longer ones are cut, and counted."""
_OWN_THREADS = "firstcause-"


class _Output:
    """Where finished records go; one per process."""

    def __init__(self) -> None:
        self.lines: Lines | None = None
        self.sink: Callable[[LogRecord], None] | None = None
        self.service = ""
        self.handler: logging.Handler | None = None


_output = _Output()


def install(service: str, lines: Lines | None, sink: Callable[[LogRecord], None] | None, *, stdlib: bool) -> None:
    """Send log records to `lines` (None: nowhere) and `sink` (OTLP); `stdlib` takes the root logger along."""
    _output.lines, _output.sink, _output.service = lines, sink, service
    if stdlib and _output.handler is None:
        _output.handler = _Handler()
        root = logging.getLogger()
        root.addHandler(_output.handler)
        if root.level in (logging.NOTSET, logging.WARNING):
            root.setLevel(logging.INFO)


def uninstall() -> None:
    """Take our handler off again."""
    if _output.handler is not None:
        logging.getLogger().removeHandler(_output.handler)
    _output.__init__()  # type: ignore[misc]


def get_logger(name: str | None = None) -> structlog.stdlib.BoundLogger:
    """See `firstcause.get_logger`."""
    import structlog

    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        _Sink(),
        processors=[_collect_exception, structlog.contextvars.merge_contextvars, _emit],
        wrapper_class=cast(Any, _Bound),
        cache_logger_on_first_use=True,
    )
    return logger.bind(logger=name) if name else logger


class _Sink:
    """What structlog believes to be the logger; `_emit` has done the work by then."""

    def msg(self, *_args: Any, **_fields: Any) -> None:
        """Nothing is left to do."""

    debug = info = warning = warn = error = critical = exception = log = msg


def _bound_class() -> Any:
    import structlog

    class Bound(structlog.BoundLoggerBase):
        """Level methods that never raise into the host."""

        def _say(self, level: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
            with guard("logs.call"):
                text = event if isinstance(event, str) else repr(event)
                if args:
                    text = text % args
                self._proxy_to_logger(level, text, **fields)

        def debug(self, event: Any = "", *args: Any, **fields: Any) -> None:
            self._say("debug", event, args, fields)

        def info(self, event: Any = "", *args: Any, **fields: Any) -> None:
            self._say("info", event, args, fields)

        def warning(self, event: Any = "", *args: Any, **fields: Any) -> None:
            self._say("warning", event, args, fields)

        def error(self, event: Any = "", *args: Any, **fields: Any) -> None:
            self._say("error", event, args, fields)

        def critical(self, event: Any = "", *args: Any, **fields: Any) -> None:
            self._say("critical", event, args, fields)

        def exception(self, event: Any = "", *args: Any, **fields: Any) -> None:
            self._say("error", event, args, {"exc_info": True, **fields})

        warn = warning

    return Bound


class _Bound:
    """Stands for the class made on first use, so that importing us does not import structlog."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        global _made
        if _made is None:
            _made = _bound_class()
        return _made(*args, **kwargs)


_made: Any = None


def _collect_exception(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = fields.pop("exc_info", None)
    if given:
        import sys
        import traceback

        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        if error is not None:
            fields["exception.type"] = type(error).__qualname__
            with guard("logs.exception"):
                fields["exception.stacktrace"] = "".join(traceback.format_exception(error, limit=32))[-VALUE:]
    return fields


def _emit(_logger: Any, method: str, fields: MutableMapping[str, Any]) -> Any:
    event = fields.pop("event", "")
    emit(method, event, fields)
    return {"event": ""}


def emit(level: str, event: Any, fields: Mapping[str, Any]) -> None:
    """Redact, add ids, and hand one record to the outputs."""
    now = time_ns()
    severity = SEVERITIES.get(level, 9)
    clean = redact_mapping({"event": event, **fields})
    body = _cut(clean.pop("event"))
    attributes = {name: _cut(value) for name, value in clean.items()}
    trace_id, span_id, flags = _ids(attributes)
    if _output.sink is not None:
        _output.sink(LogRecord(now, severity, level.upper(), body, attributes, trace_id, span_id, flags))
    if _output.lines is not None:
        _output.lines.put(_line(now, level, body, attributes, trace_id, span_id))


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > VALUE:
        count("firstcause.self.overflow", attribute="log_value")
        return value[:VALUE]
    return value


def _ids(attributes: dict[str, Any]) -> tuple[int, int, int]:
    unit = current_unit()
    if unit is None:
        return 0, 0, 0
    attributes.setdefault("request_id", unit.request_id)
    if unit.session_id:
        attributes.setdefault("session_id", unit.session_id)
    if unit.user_hash:
        attributes.setdefault("user_hash", unit.user_hash)
    if unit.route:
        attributes.setdefault("route", unit.route)
    span = unit.span
    from opentelemetry import trace

    current = trace.get_current_span()
    return span.trace_id, getattr(current, "span_id", span.span_id), span.flags


def _line(now: int, level: str, body: Any, attributes: Mapping[str, Any], trace_id: int, span_id: int) -> bytes:
    import orjson

    line: dict[str, Any] = {"ts": now // 1000 / 1e6, "level": level, "event": body, "service": _output.service}
    if trace_id:
        line["trace_id"], line["span_id"] = f"{trace_id:032x}", f"{span_id:016x}"
    line.update(attributes)
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # integers beyond 64 bits and lone surrogates, which the stock encoder can write
        return json.dumps(line, default=str).encode() + b"\n"


class _Handler(logging.Handler):
    """stdlib records into the same output; our own threads' records are left out, or they would feed themselves."""

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: `guard` counts what goes wrong."""
        if (record.threadName or "").startswith(_OWN_THREADS):
            return
        with guard("logs.handler"):
            fields: dict[str, Any] = {"logger": record.name}
            if record.exc_info and record.exc_info[1] is not None:
                _collect_exception(None, "", found := {"exc_info": record.exc_info[1]})
                fields.update(found)
            emit(record.levelname.lower(), record.getMessage(), fields)
