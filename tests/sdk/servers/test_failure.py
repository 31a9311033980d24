"""Where a unit failed: the application's own line, not the library's that it called."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from firstcause.servers.failure import note_failure


def failed(what: Any) -> Any:
    """A unit that `what` raised in."""
    unit: Any = SimpleNamespace(failure=None, error_type="", where="")
    try:
        what()
    except Exception as error:  # noqa: BLE001
        note_failure(unit, error)
    return unit


def reads_nonsense() -> None:
    """Fails inside the standard library."""
    json.loads("{nonsense")


def test_a_failure_in_a_library_is_placed_where_the_application_called_it() -> None:
    """The standard library raised; own code asked it to."""
    unit = failed(reads_nonsense)
    line = reads_nonsense.__code__.co_firstlineno + 2
    assert ("JSONDecodeError", f"reads_nonsense (servers/test_failure.py:{line})") == (unit.error_type, unit.where)


def test_the_first_failure_of_a_unit_stays() -> None:
    """What is raised while it is being handled is not the cause."""
    unit = failed(reads_nonsense)
    note_failure(unit, LookupError("later"))
    assert "JSONDecodeError" == unit.error_type


def test_a_failure_that_was_never_raised_has_no_place() -> None:
    """Made by hand, as some queues do."""
    unit: Any = SimpleNamespace(failure=None, error_type="", where="")
    note_failure(unit, ValueError("made"))
    assert ("ValueError", "") == (unit.error_type, unit.where)
