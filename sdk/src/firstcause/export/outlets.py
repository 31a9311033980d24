"""From settings to pipelines: which exporter takes which signal.

Our own OTLP over HTTP wherever possible. Exporters of the OpenTelemetry SDK (gRPC, and whatever
`OTEL_TRACES_EXPORTER` names) run behind the same pipeline, so that they too are bounded and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .._config import Config, Otlp
from .http import OtlpHttpExporter, SignalExport
from .otlp import encode_logs
from .pipeline import Pipeline
from .reply import Reply
from .scrub import encode_scrubbed, scrub

_GRPC = "opentelemetry.exporter.otlp.proto.grpc"


def traces(config: Config, resource: Mapping[str, Any]) -> Pipeline[Any]:
    """The pipeline of spans to the collector."""
    way = config.signal("traces")
    export: Any = _StockSpans(_grpc_spans(way)) if way.protocol == "grpc" else _http(way, resource, encode_scrubbed)
    return Pipeline("traces", export, config.queue, config.batch, config.interval_s)


def logs(config: Config, resource: Mapping[str, Any]) -> Pipeline[Any]:
    """The pipeline of log records to the collector."""
    way = config.signal("logs")
    export: Any = _StockLogs(_grpc_logs(way), resource) if way.protocol == "grpc" else _http(way, resource, encode_logs)
    queue = config.log_queue or config.queue
    batch = min(config.log_batch or config.batch, queue)
    return Pipeline("logs", export, queue, batch, config.log_interval_s or config.interval_s)


def stock(config: Config, name: str) -> Pipeline[Any]:
    """A pipeline of spans to an installed exporter, by entry point."""
    from importlib.metadata import entry_points

    (entry,) = list(entry_points(group="opentelemetry_traces_exporter", name=name))[:1]
    return Pipeline("traces", _StockSpans(entry.load()), config.queue, config.batch, config.interval_s)


def _http(way: Otlp, resource: Mapping[str, Any], encode: Any) -> SignalExport[Any]:
    exporter = OtlpHttpExporter(way.url, way.headers, way.timeout_s, cast(Any, way.compression))
    return SignalExport(resource, encode, exporter)


def _grpc_spans(way: Otlp) -> Callable[[], Any]:
    from importlib import import_module

    # Imported now: its module starts threads, which at the interpreter's end is too late.
    kind = import_module(f"{_GRPC}.trace_exporter").OTLPSpanExporter
    return lambda: kind(**_grpc_options(way))


def _grpc_logs(way: Otlp) -> Callable[[], Any]:
    from importlib import import_module

    kind = import_module(f"{_GRPC}._log_exporter").OTLPLogExporter
    return lambda: kind(**_grpc_options(way))


def _grpc_options(way: Otlp) -> dict[str, Any]:
    import grpc

    packed = grpc.Compression.Gzip if way.compression == "gzip" else grpc.Compression.NoCompression
    # Names of gRPC metadata are in lower case.
    headers = [(name.lower(), value) for name, value in way.headers.items()]
    return {"endpoint": way.url, "headers": headers or None, "timeout": way.timeout_s, "compression": packed}


class _Stock:
    """An exporter of the SDK as a pipeline calls one; made in the pipeline's thread, at its first batch.

    Made so late because gRPC's own threads do not survive a fork: a server that loads the
    application before it forks has sent nothing by then.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._exporter: Any = None

    def __call__(self, batch: list[Any]) -> Reply:
        if self._exporter is None:
            self._exporter = self._make()
        result = self._exporter.export(self._converted(batch))
        accepted = getattr(result, "name", "SUCCESS") == "SUCCESS"
        return Reply(accepted, reason="" if accepted else "rejected")

    def _converted(self, batch: list[Any]) -> Sequence[Any]:
        raise NotImplementedError

    def abort(self) -> None:
        """End what is under way."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            exporter.shutdown()

    close = abort

    def after_fork(self) -> None:
        """The child makes an exporter of its own."""
        self._exporter = None


class _StockSpans(_Stock):
    def _converted(self, batch: list[Any]) -> Sequence[Any]:
        from ..trace.readable import Readable

        return [Readable(scrub(span)) for span in batch]


class _StockLogs(_Stock):
    def __init__(self, make: Callable[[], Any], resource: Mapping[str, Any]) -> None:
        super().__init__(make)
        self._resource = resource

    def _converted(self, batch: list[Any]) -> Sequence[Any]:
        from opentelemetry.sdk.resources import Resource

        resource = Resource(dict(self._resource))
        return [_readable_log(record, resource) for record in batch]


def _readable_log(record: Any, resource: Any) -> Any:
    from opentelemetry import trace
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.context import Context
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    where = trace.SpanContext(record.trace_id, record.span_id, False, trace.TraceFlags(record.flags))
    log = LogRecord(
        timestamp=record.timestamp_ns, observed_timestamp=record.observed_ns, severity_text=record.severity_text,
        context=trace.set_span_in_context(trace.NonRecordingSpan(where), Context()),
        severity_number=SeverityNumber(record.severity_number), body=record.body, attributes=dict(record.attributes),
        event_name=record.event_name or None,
    )  # fmt: skip
    return ReadableLogRecord(log, resource, InstrumentationScope(record.scope.name, record.scope.version))
