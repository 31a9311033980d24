"""One module per dashboard; each has a `board()` that returns it."""

from __future__ import annotations

from ..board import Board
from . import browser, cache, database, incident, overview, queues, resources, service, slo, telemetry

BOARDS: tuple[Board, ...] = tuple(
    module.board()
    for module in (overview, service, resources, database, queues, cache, browser, slo, incident, telemetry)
)
