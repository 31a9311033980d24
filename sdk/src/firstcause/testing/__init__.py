"""The testing kit: what a service's tests can see of its requests, and assert about them.

In: the spans, units and log records that the SDK makes anyway. Here: they are kept instead of sent.
Out: assertions on queries, time spent, causes and log lines, whose failures show the request.

With pytest, take the fixture `capcause`; elsewhere, `with Capture() as capture:`.
"""

from .capture import Capture
from .clock import Clock
from .taken import Call, Request, Verdict

__all__ = ["Call", "Capture", "Clock", "Request", "Verdict"]
