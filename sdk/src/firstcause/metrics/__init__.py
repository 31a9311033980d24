"""Metrics: plain cells on the hot path, `prometheus_client` at the scrape, OTLP for those who push.

In: unit reports, client calls, readings, the host's own metrics. Here: bounded cells in flat memory, shared
by the processes of one server. Out: `/metrics`, OTLP.
"""

from .cells import Metrics
from .exposition import collector, serve
from .setup import Telemetry, make

__all__ = ["Metrics", "Telemetry", "collector", "make", "serve"]
