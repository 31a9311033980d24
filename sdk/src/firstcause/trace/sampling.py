"""Sampling by a share of the trace ids, in a few operations: what most names of `OTEL_TRACES_SAMPLER` come down to."""

from __future__ import annotations

from .span import Span

SAMPLED, RANDOM = 1, 2
_SPACE = 1 << 64


class Share:
    """Samples traces by the lower 64 bits of their id, the very ones that the SDK's `TraceIdRatioBased` does.

    `ratio` is between 0 and 1. With `follow` a span that has a parent does as that one did.
    """

    __slots__ = ("_bound", "_follow")

    def __init__(self, ratio: float, *, follow: bool) -> None:
        self._bound, self._follow = round(ratio * _SPACE), follow

    def decide(self, span: Span, has_parent: bool) -> None:
        """Decide about a fresh span, whose flags are its parent's where it has one."""
        if not (self._follow and has_parent):
            span.recording = span.trace_id & (_SPACE - 1) < self._bound
            span.flags = span.flags & RANDOM | span.recording
