"""A log record as the encoder reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..export.otlp import Scope

SCOPE = Scope("firstcause")
SEVERITIES = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}
"""OpenTelemetry severity numbers of the usual level names."""


@dataclass(slots=True)
class LogRecord:
    """One record; times in nanoseconds since the epoch."""

    timestamp_ns: int
    severity_number: int
    severity_text: str
    body: Any
    attributes: Mapping[str, Any]
    trace_id: int = 0
    span_id: int = 0
    flags: int = 0
    event_name: str = ""
    scope: Scope = SCOPE

    @property
    def observed_ns(self) -> int:
        """We observe it when it is made."""
        return self.timestamp_ns
