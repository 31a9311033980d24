"""`/metrics`: text and OpenMetrics by `prometheus_client`, native histograms by Prometheus' protobuf format.

A scraper that offers protobuf gets classic and native buckets at once, with exemplars; Prometheus offers
it when `scrape_native_histograms` is on. Otherwise OpenMetrics 1.0 carries exemplars, and plain text works
for everything else.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .._guard import count, guard, report
from .families import COUNTER, HISTOGRAM, Distribution, Family, Number, prometheus_label, prometheus_name
from .snapshot import COUNTS, EVERYTHING, EXEMPLARS, snapshot

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from .cells import Metrics

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
IDENTITY = ("service.name", "service.version", "service.instance.id", "deployment.environment.name")
"""Resource attributes that every series carries as labels."""
MAX_SCRAPES = 16
"""At once; further ones are hung up on."""
SLOW_S = 10.0
"""A scraper that does not send or take for so long is hung up on."""


def identity(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that every series of ours carries."""
    return {prometheus_label(name): labels[name] for name in IDENTITY if labels.get(name)}


class Exposition:
    """Renders everything there is: ours, the host's custom metrics, the host's default registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """The child may inherit the lock in its locked state."""
        self._lock = threading.Lock()

    def families(self, kinds: frozenset[str] = EVERYTHING) -> list[Family]:
        """What a scrape shows of ours and of custom metrics. One caller at a time."""
        # Siblings' files are read into buffers that are kept: two scrapes at once would overwrite them.
        with self._lock:
            return [family for family in snapshot(self._metrics, kinds) if family.points]

    def render(self, accept: str) -> tuple[str, bytes]:
        """Content type and body in the richest format that `accept` names."""
        constant = identity(self._metrics.labels)
        if wants_protobuf(accept):
            from .protobuf import encode, encode_foreign

            families = self.families()
            names = {prometheus_name(f.name, f.unit, f.kind) for f in families}
            foreign = encode_foreign(_foreign(self._metrics, names))
            return PROTOBUF, encode(families, constant) + foreign
        from prometheus_client.exposition import choose_encoder

        encoder, content_type = choose_encoder(_without_openmetrics_2(accept))
        families = self.families(EXEMPLARS if "openmetrics" in content_type else COUNTS)
        return content_type, encoder(_Collected(self._metrics, families, constant))


def wants_protobuf(accept: str) -> bool:
    """Whether the scraper names the delimited protobuf format."""
    return any(
        part.strip().startswith("application/vnd.google.protobuf") and "io.prometheus.client.MetricFamily" in part
        for part in accept.split(",")
    )


def _without_openmetrics_2(accept: str) -> str:
    """OpenMetrics 2.0 is a draft, and `prometheus_client` writes an earlier one than Prometheus reads."""
    kept = [part for part in accept.split(",") if not ("openmetrics-text" in part and "version=2" in part)]
    return ",".join(kept)


class _Collected:
    """Families as `prometheus_client` wants them of a registry, then the host's own."""

    def __init__(self, metrics: Metrics, families: list[Family], constant: dict[str, str]) -> None:
        self._metrics, self._families, self._constant = metrics, families, constant

    def collect(self) -> Iterator[Any]:
        names = set()
        for family in self._families:
            made = client_metric(family, self._constant)
            names.add(made.name)
            yield made
        yield from _foreign(self._metrics, names)


def collector(metrics: Metrics) -> Collector:
    """A collector over `metrics`, to register wherever the host exposes its own series."""
    from prometheus_client.registry import Collector as Base

    exposition = Exposition(metrics)

    class Cells(Base):
        def collect(self) -> Iterable[Any]:
            constant = identity(metrics.labels)
            return [client_metric(family, constant) for family in exposition.families()]

    return Cells()


def _foreign(metrics: Metrics, ours: set[str]) -> Iterator[Any]:
    """The host's default registry, without what bears a name of ours."""
    registry = _registry(metrics)
    if registry is None:
        return
    try:
        for family in registry.collect():
            if family.name in ours or family.name.removesuffix("_total") in ours:
                count("firstcause.self.dropped", signal="metrics", reason="duplicate")
            else:
                yield family
    except Exception as error:  # noqa: BLE001 - a collector of the host's must not cost the whole scrape
        report("metrics.foreign", error)


def _registry(metrics: Metrics) -> Any:
    """Under prefork the default registry holds one worker's share: then only its multiprocess mode is right."""
    import os

    from prometheus_client import REGISTRY, CollectorRegistry

    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client.multiprocess import MultiProcessCollector

        made = CollectorRegistry()
        with guard("metrics.multiprocess"):
            MultiProcessCollector(made)  # type: ignore[no-untyped-call]
        return made
    return None if metrics.store.group is not None else REGISTRY


# -- families for prometheus_client ---------------------------------------------------------------


def client_metric(family: Family, constant: Mapping[str, str]) -> Any:
    """One family as a `prometheus_client` metric, exemplars on its classic buckets."""
    from prometheus_client.core import Metric

    name = prometheus_name(family.name, family.unit, family.kind)
    kind = family.kind if family.kind in (COUNTER, HISTOGRAM) else "gauge"
    made = Metric(name, family.description, kind)
    for point in family.points:
        labels = {**constant, **{prometheus_label(k): v for k, v in point.labels.items()}}
        if isinstance(point, Distribution):
            _add_buckets(made, labels, point)
        else:
            made.add_sample(name + "_total" if kind == COUNTER else name, labels, point.value)
    return made


def classic(point: Distribution) -> tuple[list[float], list[int]]:
    """Edges and counts; taken from the exponential buckets where there are no others."""
    if point.counts or point.exponential is None:
        return point.edges, point.counts
    return point.exponential.classic()


def _add_buckets(made: Any, labels: dict[str, str], point: Distribution) -> None:
    from prometheus_client.samples import Exemplar
    from prometheus_client.utils import floatToGoString

    edges, counts = classic(point)
    found = by_bucket(point, edges)
    for place, total in enumerate(accumulate(counts)):
        edge = floatToGoString(edges[place]) if place < len(edges) else "+Inf"  # type: ignore[no-untyped-call]
        given = found.get(place)
        exemplar = Exemplar({"trace_id": f"{given.trace_id:032x}"}, given.value, given.at_ns / 1e9) if given else None
        made.add_sample(made.name + "_bucket", {**labels, "le": edge}, total, exemplar=exemplar)
    made.add_sample(made.name + "_count", labels, sum(counts))
    made.add_sample(made.name + "_sum", labels, point.sum)


def by_bucket(point: Distribution, edges: list[float]) -> dict[int, Any]:
    """The newest exemplar of each bucket."""
    from bisect import bisect_left

    ordered = sorted(point.exemplars, key=lambda exemplar: exemplar.at_ns)
    return {bisect_left(edges, exemplar.value): exemplar for exemplar in ordered}


# -- serving --------------------------------------------------------------------------------------

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], list[bytes]]


def wsgi_app(exposition: Exposition) -> Wsgi:
    """A WSGI application that answers GET with the metrics."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return [b""]
        status, headers, body = answer(
            exposition, environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_ENCODING", "")
        )
        start_response(status, headers)
        return [body if environ["REQUEST_METHOD"] == "GET" else b""]

    return app


def asgi_app(exposition: Exposition) -> Any:
    """An ASGI application that answers with the metrics, rendered beside the event loop."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        import asyncio

        if scope["type"] != "http":
            return
        given = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, headers, body = await asyncio.to_thread(
            answer, exposition, given.get(b"accept", ""), given.get(b"accept-encoding", "")
        )
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": raw})
        await send({"type": "http.response.body", "body": body})

    return app


def answer(exposition: Exposition, accept: str, encodings: str) -> tuple[str, list[tuple[str, str]], bytes]:
    """Status line, headers and body of one scrape."""
    try:
        content_type, body = exposition.render(accept)
    except Exception as error:  # noqa: BLE001 - the scraper is told, the host is not troubled
        report("metrics.scrape", error)
        return "503 Service Unavailable", [("Content-Length", "0")], b""
    headers = [("Content-Type", content_type)]
    if "gzip" in encodings:
        body = gzip.compress(body, 3)
        headers.append(("Content-Encoding", "gzip"))
    return "200 OK", [*headers, ("Content-Length", str(len(body)))], body


def serve(metrics: Metrics, host: str, port: int) -> int:
    """Serve `/metrics` from a daemon thread; returns the port. Raises OSError when it is taken."""
    return int(start(Exposition(metrics), host, port).server_port)


def start(exposition: Exposition, host: str, port: int) -> Any:
    """The running server; `socket.close()` in a fork, so that the port is the parent's alone."""
    import socket
    from socketserver import TCPServer, ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    class Handler(WSGIRequestHandler):
        timeout = SLOW_S
        # The head at once: of a process that ends between two lines of it, a scraper sees an empty 200.
        wbufsize = -1

        def log_message(self, *_given: Any) -> None:
            """Nothing: the host's output is the host's."""

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        places = threading.BoundedSemaphore(MAX_SCRAPES)

        def server_bind(self) -> None:
            # Not HTTPServer's, which asks the name service who we are.
            TCPServer.server_bind(self)
            self.server_name, self.server_port = host, int(self.server_address[1])
            self.setup_environ()

        def process_request(self, request: Any, client_address: Any) -> None:
            if self.places.acquire(blocking=False):
                super().process_request(request, client_address)
            else:
                self.shutdown_request(request)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                self.places.release()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A scraper that hung up is no error of the host's."""

    server = Server((host, port), Handler)
    server.set_app(wsgi_app(exposition))
    threading.Thread(target=server.serve_forever, name="firstcause-metrics", daemon=True).start()
    return server


__all__ = ["Exposition", "Number", "asgi_app", "collector", "serve", "start", "wsgi_app"]
