"""A unit of work without a server: for tests of repositories, jobs and libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from ..diagnosis.clock import thread_clock
from ..diagnosis.ledger import FRAME
from ..servers.failure import note_failure
from ..servers.incoming import adopt

if TYPE_CHECKING:
    from .._recorder import Recorder


@contextmanager
def unit(recorder: Recorder, name: str) -> Iterator[None]:
    """One unit around the block, as a consumed message is; an exception fails it and goes on."""
    made = recorder.begin("consumer", "", name, thread_clock())
    made.route = name
    adopt(recorder, made, {}, {}, SpanKind.CONSUMER, from_loopback=True)
    frame = FRAME.set(made.ledger.root)
    token = otel_context.attach(trace.set_span_in_context(made.span))
    try:
        yield
    except Exception as error:
        note_failure(made, error)
        raise
    finally:
        otel_context.detach(token)
        FRAME.reset(frame)
        recorder.finish(made, 500 if made.failure is not None else 0)
