"""What a check is, what it is given, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._config import Config
    from .._setup import Setup
    from .observation import Observed
    from .startline import StartLine

OK, NOTE, WARNING, ERROR, SKIPPED = "ok", "note", "warning", "error", "skipped"
"""What a check ends with. A note is worth knowing and changes nothing; see `command` for the exit codes."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it has to be."""

    what: str
    """What is so, in a sentence without a full stop."""
    where: str
    """The variable, argument, module, address or layer that it is about."""
    fix: str
    """What to do, in a sentence that begins with a verb."""


@dataclass(frozen=True)
class Check:
    """One question. `run` gets the context, and returns nothing when all is well.

    `needs` names fields of the context without which the question makes no sense; the check is skipped then.
    """

    id: str
    title: str
    severity: str
    run: Callable[[Context], Sequence[Finding]]
    needs: tuple[str, ...] = ()


@dataclass
class Context:
    """Everything checks may look at. What could not be had is None or empty, and `why` says why."""

    environ: Mapping[str, str]
    start: StartLine
    config: Config | None = None
    """What the service runs with: of the application's own `configure`, else of the environment."""
    problems: Sequence[str] = ()
    """What `configure` would refuse."""
    name: str = ""
    """Of the application: `module:attribute`."""
    failure: str = ""
    """Why the application could not be imported."""
    app: Any = None
    late: bool = False
    """Whether the application came to be watched only while it served."""
    watched: bool = False
    """Whether the request was: its answer carried the request's id."""
    setup: Setup | None = None
    observed: Observed | None = None
    url: str = ""
    why: dict[str, str] = field(default_factory=dict)

    def missing(self, needs: Sequence[str]) -> str:
        """Why a check with these needs cannot run; empty when it can."""
        for need in needs:
            if not getattr(self, need):
                return self.why.get(need) or _HOW.get(need, f"no {need}")
        return ""


_HOW = {
    "app": "no application given: --app module:attribute",
    "observed": "no application given: --app module:attribute",
    "setup": "no application given: --app module:attribute",
    "url": "no running service given: --url http://…",
    "watched": "no application given: --app module:attribute",
    "config": "the settings cannot be read",
}


@dataclass(frozen=True)
class Result:
    """One check's answer; `skipped` says why there is none."""

    check: Check
    findings: Sequence[Finding] = ()
    skipped: str = ""

    @property
    def status(self) -> str:
        """`ok`, `skipped`, or the check's severity."""
        if self.skipped:
            return SKIPPED
        return self.check.severity if self.findings else OK


def examine(checks: Sequence[Check], context: Context) -> list[Result]:
    """Ask every question; a check that fails itself is reported as skipped, with its error."""
    return [_ask(check, context) for check in checks]


def _ask(check: Check, context: Context) -> Result:
    missing = context.missing(check.needs)
    if missing:
        return Result(check, skipped=missing)
    try:
        return Result(check, tuple(check.run(context)))
    except Exception as error:  # noqa: BLE001 - one question that cannot be answered must not hide the others
        return Result(check, skipped=f"the check failed: {type(error).__name__}: {error}")
