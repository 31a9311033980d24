"""firstcause-rum: what users' browsers saw, tied to the backend trace.

In: beacons of pages. Here: limits, checks, one view from many reports, who is to blame. Out: histograms, log events,
and a span pair in the backend's trace.
"""

from firstcause import ConfigError

from ._config import Config

__all__ = ["Config", "ConfigError"]
__version__ = "0.1.0"
