"""The log pipeline with outputs that can be read."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from firstcause import _guard
from firstcause.logs import Lines, LogRecord, install, uninstall


@dataclass
class Pipeline:
    """What was printed by us, and what was exported."""

    stream: io.BytesIO = field(default_factory=io.BytesIO)
    records: list[LogRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = Lines(self.stream)

    @property
    def printed(self) -> list[dict[str, Any]]:
        """The lines on the stream so far."""
        assert self.lines.flush(5)
        return [orjson.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def said(self) -> list[Any]:
        """The exported texts."""
        return [record.body for record in self.records]


@pytest.fixture(name="pipeline")
def _pipeline() -> Iterator[Pipeline]:
    """Installed for the test, on a root logger as a program finds it at its start; put back afterwards."""
    root = logging.getLogger()
    known = {name: found for name, found in root.manager.loggerDict.items() if isinstance(found, logging.Logger)}
    before = [(one, one.handlers[:], one.level, one.propagate) for one in (root, *known.values())]
    root.handlers[:], root.level = [], logging.WARNING
    made = Pipeline()
    _guard.reset_self_counts()
    install("shop", made.lines, made.records.append, stdlib=True)
    yield made
    uninstall()
    for name in root.manager.loggerDict.keys() - known.keys():
        logging.getLogger(name).handlers, logging.getLogger(name).propagate = [], True
    for one, handlers, level, propagate in before:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def without_pytest() -> None:
    """The root logger without the handlers that pytest puts there for the time of a test."""
    logging.getLogger().handlers[:] = []
