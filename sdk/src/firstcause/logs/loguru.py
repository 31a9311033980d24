"""loguru: its messages as records of ours, with ids, redacted, and exported.

A sink beside the host's. `logger.remove()` and `logger.configure(handlers=...)` clear the host's sinks, and
ours is put back. As with `logging`, a message that a sink of the host's prints on standard output or error is
not printed once more. Messages below INFO are not asked for: they would be formatted for us alone.
"""

from __future__ import annotations

import sys
from typing import Any

import loguru
from loguru._logger import Logger

from .._guard import guard
from ..clients.patches import Patches
from . import setup

LEVEL = 20
"""INFO."""
_patches = Patches()
_ours: dict[str, int] = {}


def instrument() -> None:
    """Add our sink; safe to call again."""
    if _patches:
        return
    _patches.put(Logger, "remove", _remove)
    setup._output.loguru = True
    _add()


def uninstrument() -> None:
    """Take our sink off again."""
    _patches.undo()
    setup._output.loguru = False
    number = _ours.pop("sink", None)
    if number is not None and number in _handlers():
        loguru.logger.remove(number)


def _handlers() -> dict[int, Any]:
    found: dict[int, Any] = loguru.logger._core.handlers  # type: ignore[attr-defined]
    return found


def _add() -> None:
    # Our sink guards itself: loguru's `catch` would print a traceback of ours among the host's output.
    _ours["sink"] = loguru.logger.add(_sink, level=LEVEL, format=_nothing, catch=False)


def _nothing(_record: Any) -> str:
    """We read the record: the text need not be made."""
    return ""


def _remove(original: Any) -> Any:
    def remove(self: Any, handler_id: Any = None) -> None:
        original(self, handler_id)
        with guard("loguru.remove"):
            if handler_id is None:
                _add()

    return remove


def _sink(message: Any) -> None:
    if setup.inside.handing:
        return  # it comes from `logging`, where we have taken it
    with guard("logs.loguru"):
        record = message.record
        level, error = record["level"], record["exception"]
        fields: dict[str, Any] = {"logger": record["name"], **record["extra"]}
        if error is not None and error.value is not None:
            fields.update(setup.describe(error.value))
        severity, shown = setup.severity_of(level.no), _shown(level.no)
        setup.emit(level.name.lower(), record["message"], fields, severity=severity, printed=shown)


def _shown(number: int) -> bool:
    """Whether a sink of the host's prints this level where we would."""
    ours = _ours.get("sink")
    return any(key != ours and number >= one.levelno and _is_standard(one) for key, one in _handlers().items())


def _is_standard(handler: Any) -> bool:
    stream = getattr(handler._sink, "_stream", None)
    return stream is not None and (stream in (sys.__stdout__, sys.__stderr__) or setup._is_standard(stream))
