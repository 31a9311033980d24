"""Logs: structured lines with ids on every one, and one canonical line per unit of work.

In: structlog and stdlib records, unit reports. Here: ids, redaction, JSON. Out: a stream, and OTLP records.
"""

from .canonical import Canonical
from .records import LogRecord
from .setup import add_ids, get_logger, install, uninstall
from .stream import Lines

__all__ = ["Canonical", "Lines", "LogRecord", "add_ids", "get_logger", "install", "uninstall"]
