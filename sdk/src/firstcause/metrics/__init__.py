"""Metrics: plain cells on the hot path, `prometheus_client` at the scrape.

In: unit reports and readings. Here: bounded cells. Out: `/metrics`.
"""

from .cells import Metrics
from .exposition import collector, serve

__all__ = ["Metrics", "collector", "serve"]
