"""A fresh provider of ours per test, handed to contrib's instrumentations unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.sdk.clients.workbench import Workbench


@pytest.fixture(name="bench")
def _bench() -> Workbench:
    """Spans and reports of one process; none of our own adapters is on."""
    return Workbench()


@contextmanager
def instrumented(instrumentor: Any, bench: Workbench) -> Iterator[None]:
    """The instrumentation on, with our provider, for the block."""
    instrumentor.instrument(tracer_provider=bench.recorder.provider)
    try:
        yield
    finally:
        instrumentor.uninstrument()


@pytest.fixture(name="on")
def _on(bench: Workbench) -> Any:
    """`with on(Instrumentor()):`."""
    return lambda instrumentor: instrumented(instrumentor, bench)
