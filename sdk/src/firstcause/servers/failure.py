"""What a unit raised, and where."""

from __future__ import annotations

from .._guard import guard
from .._watch import _is_runtime, place_of
from ..diagnosis.unit import Unit


def note_failure(unit: Unit, error: Exception) -> None:
    """Keep the first exception of a unit and the innermost place of the application that raised it."""
    if unit.failure is not None:
        return
    with guard("servers.failure"):
        unit.failure = error
        unit.error_type = type(error).__qualname__
        unit.where = _raised_at(error)


def _raised_at(error: BaseException) -> str:
    """The last traceback entry outside installed packages and the standard library, else the last one."""
    trace_ = error.__traceback__
    last = own = None
    while trace_ is not None:
        last = trace_
        if "site-packages" not in trace_.tb_frame.f_code.co_filename and not _is_runtime(trace_.tb_frame):
            own = trace_
        trace_ = trace_.tb_next
    place = own or last
    # The traceback's line: the frame's own may have gone on since, through a `finally`.
    return "" if place is None else f"{place_of(place.tb_frame).rsplit(':', 1)[0]}:{place.tb_lineno})"
