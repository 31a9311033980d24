"""Metrics over OTLP/gRPC: the same bytes in another envelope."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from .._config import Otlp
from ..export.reply import UNREACHABLE, Reply

METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


class GrpcExporter:
    """Sends encoded requests over one channel, made with the first; needs `firstcause[otlp-grpc]`."""

    def __init__(self, way: Otlp) -> None:
        self._way = way
        self._channel: Any = None

    def send(self, payload: bytes) -> Reply:
        """Never raises for anything the network or the collector does."""
        import grpc

        if self._channel is None:
            self._channel = self._open()
        # Without serializers gRPC sends the bytes as they are: no generated classes, no second encoding.
        call = self._channel.unary_unary(METHOD)
        packed = grpc.Compression.Gzip if self._way.compression == "gzip" else grpc.Compression.NoCompression
        headers = [(name.lower(), value) for name, value in self._way.headers.items()]
        try:
            call(payload, timeout=self._way.timeout_s, metadata=headers, compression=packed)
        except grpc.RpcError:
            # Nothing to try again: what is pushed is cumulative, so the next push says it too.
            return UNREACHABLE
        return Reply(True)

    def _open(self) -> Any:
        import grpc

        url = urlsplit(self._way.url if "//" in self._way.url else "//" + self._way.url)
        if url.scheme == "https":
            return grpc.secure_channel(url.netloc, grpc.ssl_channel_credentials())
        return grpc.insecure_channel(url.netloc)

    def abort(self) -> None:
        """End the send under way."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def after_fork(self) -> None:
        """The child makes a channel of its own; gRPC's threads stayed with the parent."""
        self._channel = None
