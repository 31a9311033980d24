"""structlog, stdlib logging and loguru through one renderer, with ids on every line.

Records of the `logging` module are taken where every one of them passes, not by a handler: set-up of the
host's, before us or after (`dictConfig`, `basicConfig(force=True)`, Celery's, gunicorn's), cannot drop us,
and finds the root logger as empty as it was. What the host prints itself it prints alone: a record that one
of its handlers shows on standard output or error is exported, and not printed by us once more. Its own
format can name `%(otelTraceID)s`, `%(otelSpanID)s`, `%(otelServiceName)s` and `%(firstcause_request_id)s`.
Where nobody has set up logging, the root logger's level becomes INFO, for us alone: handlers that come later
get what they would have got, until the host sets a level itself.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from time import time_ns
from typing import TYPE_CHECKING, Any, cast

from .._guard import count, guard
from ..diagnosis.unit import current_unit
from .records import SEVERITIES, LogRecord
from .redaction import MOST, Room, redact, redact_mapping, redact_value
from .stream import Lines

if TYPE_CHECKING:
    import structlog

VALUE = 8192
"""Characters of one value on a line; longer ones are cut, and counted."""
_OWN_THREADS = "firstcause-"
_TAKEN = "_firstcause"
"""On a record that we have: a queue or a second logger may bring it along again."""
_RESERVED = frozenset(("ts", "level", "event", "service", "trace_id", "span_id"))


class _Output:
    """Where finished records go; one per process."""

    def __init__(self) -> None:
        self.lines: Lines | None = None
        self.sink: Callable[[LogRecord], None] | None = None
        self.service = ""
        self.handler: Callable[[logging.Logger, logging.LogRecord], None] | None = None
        """What handles stdlib records beside us: the host's handlers; None while we do not look."""
        self.loguru = False


class _Raised(int):
    """A level like any other, that can be told from one that the host has set."""


_RAISED = _Raised(logging.INFO)


class _Inside(threading.local):
    """What this thread is in the middle of."""

    taking = False
    """A record of ours: what is logged meanwhile (by a value's `__str__`) would never end."""
    handing = False
    """A stdlib record that we have taken is with the host's handlers."""


_output = _Output()
inside = _Inside()


def install(service: str, lines: Lines | None, sink: Callable[[LogRecord], None] | None, *, stdlib: bool) -> None:
    """Send log records to `lines` (None: nowhere) and `sink` (OTLP); `stdlib` takes those of `logging` along."""
    _output.lines, _output.sink, _output.service = lines, sink, service
    if stdlib and _output.handler is None:
        _output.handler = logging.Logger.callHandlers
        logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign, assignment]
        logging.setLogRecordFactory(_with_ids(logging.getLogRecordFactory()))
        root = logging.getLogger()
        # WARNING is where the root logger stands untouched; a console handler says that somebody was here.
        unset = root.level in (logging.NOTSET, logging.WARNING) and not any(map(_console, root.handlers))
        if unset and (lines is not None or sink is not None):
            root.setLevel(_RAISED)


def uninstall() -> None:
    """Leave `logging` alone again."""
    # Somebody may have patched over us: to undo ours would undo theirs.
    if _output.handler is not None and logging.Logger.callHandlers is _call_handlers:
        logging.Logger.callHandlers = _output.handler  # type: ignore[method-assign, assignment]
        factory = logging.getLogRecordFactory()
        logging.setLogRecordFactory(getattr(factory, "_firstcause_inner", factory))
        if logging.getLogger().level is _RAISED:
            logging.getLogger().setLevel(logging.WARNING)
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
                # As in `logging`: without arguments a percent sign is only text.
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


def add_ids(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor for chains of your own: trace, span, request, session and user ids, and the route."""
    with guard("logs.ids"):
        found: dict[str, Any] = {}
        trace_id, span_id, _flags = _ids(found)
        if trace_id:
            found["trace_id"], found["span_id"] = f"{trace_id:032x}", f"{span_id:016x}"
        fields.update(found)
    return fields


def _collect_exception(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = fields.pop("exc_info", None)
    if given:
        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        if isinstance(given, tuple) and len(given) == 3:
            error = given[1]
        if isinstance(error, BaseException):
            fields.update(describe(error))
    return fields


def describe(error: BaseException) -> dict[str, Any]:
    """An exception by the semantic conventions' names: its type, and the end of its stack trace, redacted."""
    import traceback

    fields: dict[str, Any] = {"exception.type": type(error).__qualname__}
    with guard("logs.exception"):
        text = "".join(traceback.format_exception(error, limit=-32))
        # Searched before it is cut for good: a cut must not part a secret from what names it.
        fields["exception.stacktrace"] = _last_lines(redact_value(_last_lines(text, MOST)), VALUE)
    return fields


def _last_lines(text: str, most: int) -> str:
    return text if len(text) <= most else text[-most:].partition("\n")[2]


def _emit(_logger: Any, method: str, fields: MutableMapping[str, Any]) -> Any:
    event = fields.pop("event", "")
    emit(method, event, fields)
    return {"event": ""}


def emit(level: str, event: Any, fields: Mapping[str, Any], *, severity: int = 0, printed: bool = False) -> None:
    """Redact, add ids, and hand one record to the outputs; `printed` says that somebody has shown it already."""
    if inside.taking:
        return
    inside.taking = True
    try:
        now = time_ns()
        room = Room(value=VALUE)
        body = redact(event, room=room)
        attributes = redact_mapping(fields, room=room)
        # A field of the host's neither takes the place of ours nor gets lost.
        for name in _RESERVED & attributes.keys():
            attributes[name + "_"] = attributes.pop(name)
        if room.cut:
            count("firstcause.self.overflow", attribute="log_value")
        _hand_over(now, level, severity or SEVERITIES.get(level, 9), body, attributes, printed=printed)
    finally:
        inside.taking = False


def _hand_over(now: int, level: str, severity: int, body: Any, attributes: dict[str, Any], *, printed: bool) -> None:
    trace_id, span_id, flags = _ids(attributes)
    if _output.sink is not None:
        _output.sink(LogRecord(now, severity, level.upper(), body, attributes, trace_id, span_id, flags))
    if _output.lines is not None and not printed:
        _output.lines.put(_line(now, level, body, attributes, trace_id, span_id))


def _ids(attributes: dict[str, Any]) -> tuple[int, int, int]:
    unit = current_unit()
    if unit is None:
        return 0, 0, 0
    attributes["request_id"] = unit.request_id
    if unit.session_id:
        attributes["session_id"] = unit.session_id
    if unit.user_hash:
        attributes["user_hash"] = unit.user_hash
    if unit.route:
        attributes.setdefault("route", unit.route)
    span = unit.span
    from opentelemetry import trace

    current = trace.get_current_span()
    # A span of another make has no such attribute: the unit's own stands for it.
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


# -- stdlib -------------------------------------------------------------------------------------


def _call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Stands in for `Logger.callHandlers`: the record is ours as well, and the host's handlers get it unchanged."""
    handed = _output.handler or _ORIGINAL
    ours, alone = False, _ours_alone(logger, record)
    if not (inside.taking or (record.threadName or "").startswith(_OWN_THREADS) or _TAKEN in record.__dict__):
        with guard("logs.stdlib"):
            ours = _take(logger, record, alone)
    if alone or (ours and not logger.hasHandlers()):
        return  # without handlers Python would print it as a last resort
    before, inside.handing = inside.handing, True
    try:
        handed(logger, record)
    finally:
        inside.handing = before


_ORIGINAL = logging.Logger.callHandlers


def _ours_alone(logger: logging.Logger, record: logging.LogRecord) -> bool:
    """Whether only the level that we gave the root logger let the record pass."""
    root: logging.Logger = logging.root
    if root.level is not _RAISED or record.levelno >= logging.WARNING:
        return False
    above: logging.Logger | None = logger
    while above is not None and above is not root:
        if above.level:
            return False
        above = above.parent
    return True


def _take(logger: logging.Logger, record: logging.LogRecord, alone: bool) -> bool:
    """Emit a record; whether it was printed by us."""
    if _output.loguru and _from_loguru():
        return False
    record.__dict__[_TAKEN] = True
    shown = not alone and any(
        record.levelno >= handler.level and _shows(handler, record) for handler in _reached(logger)
    )
    fields: dict[str, Any] = {"logger": record.name}
    fields.update((name, value) for name, value in record.__dict__.items() if name not in _STANDARD)
    if record.exc_info and record.exc_info[1] is not None:
        fields.update(describe(record.exc_info[1]))
    if record.stack_info:
        fields["stack"] = record.stack_info
    emit(record.levelname.lower(), record.getMessage(), fields, severity=severity_of(record.levelno), printed=shown)
    return not shown and _output.lines is not None


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message", "asctime", "taskName", "color_message", _TAKEN, "otelTraceID", "otelSpanID", "otelTraceSampled",
    "otelServiceName", "firstcause_request_id",
}  # fmt: skip
"""What every record has; the rest is the caller's `extra`."""


def severity_of(number: int) -> int:
    """OpenTelemetry's severity number of a level of `logging` or loguru."""
    return (1, 5, 9, 13, 17, 21)[min(max(number, 0) // 10, 5)]


def _reached(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    """The handlers that a record of `logger` comes to."""
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _shows(handler: logging.Handler, record: logging.LogRecord) -> bool:
    # Only Django's own filters (`RequireDebugTrue`) are asked: the host's may count or change records.
    return _console(handler) and not any(
        type(one).__module__ == "django.utils.log" and not one.filter(record)  # type: ignore[union-attr]
        for one in handler.filters
    )


def _console(handler: logging.Handler) -> bool:
    """Whether a handler prints to the streams that we print to; one of an unknown kind may."""
    if isinstance(handler, logging.StreamHandler):
        return _is_standard(getattr(handler, "stream", None))
    kind = type(handler)
    if kind.__module__ == "logging.handlers":
        # Behind a queue anybody may print; the rest of that module writes files, or sends.
        return kind.__name__ == "QueueHandler"
    return not isinstance(handler, logging.NullHandler) and kind.__module__.partition(".")[0] not in _SENDERS


_SENDERS = frozenset(("opentelemetry", "django", "sentry_sdk", "logfire", "_pytest"))
"""Packages whose handlers send or keep records; Django's sends mail."""


def _is_standard(stream: Any) -> bool:
    if stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        return True
    try:
        return stream.fileno() in (1, 2)
    except (OSError, ValueError, AttributeError):
        return False


def _from_loguru() -> bool:
    """Whether loguru is handing this record on, of which our sink there has had the original."""
    frame = sys._getframe(2)
    for _ in range(8):
        if frame.f_back is None:
            return False
        frame = frame.f_back
        if frame.f_globals.get("__name__") == "loguru._handler":
            return True
    return False


def _with_ids(inner: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """A record factory whose records a host's format can ask for ids, by the names of OpenTelemetry's own."""

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = inner(*args, **kwargs)
        with guard("logs.record"):
            _add(record)
        return record

    make._firstcause_inner = inner  # type: ignore[attr-defined]
    return make


def _add(record: Any) -> None:
    unit = current_unit()
    found: dict[str, Any] = {}
    trace_id, span_id, flags = (0, 0, 0) if unit is None else _ids(found)
    record.otelTraceID = f"{trace_id:032x}" if trace_id else "0"
    record.otelSpanID = f"{span_id:016x}" if span_id else "0"
    record.otelTraceSampled, record.otelServiceName = bool(flags & 1), _output.service
    record.firstcause_request_id = found.get("request_id", "")
