"""The front door; everything heavy behind it is imported when it is first used."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from .diagnosis.ledger import FRAME, Frame, close_frame, leave, open_frame, stamp
from .diagnosis.unit import current_unit

if TYPE_CHECKING:
    from contextvars import Token

    import structlog

    from ._setup import Setup


def configure(service: str | None = None, *, app: Any = None, **settings: Any) -> Setup:
    """Switch everything on, once per process; safe to call again, before or after routes exist.

    `app` is a FastAPI, Starlette or Flask application to attach to. `settings` are the fields of
    `firstcause._config.Config`; an argument wins over the environment (`OTEL_*`, `FIRSTCAUSE_*`),
    which wins over the default. Returns a report of what was attached. Raises `ConfigError`
    with all problems at once.
    """
    from . import _setup

    return _setup.configure(service, app, settings)


def get_logger(name: str | None = None) -> structlog.stdlib.BoundLogger:
    """A structlog logger whose lines carry service, trace, request, session and (hashed) user ids."""
    try:
        from .logs import get_logger as make

        return make(name)
    except ImportError:
        if sys.is_finalizing():  # a destructor of the host's, when nothing can be imported any more
            return cast("structlog.stdlib.BoundLogger", _Silent())
        raise


class _Silent:
    """A logger that says nothing, whatever is called."""

    def __getattr__(self, _name: str) -> _Silent:
        return self

    def __call__(self, *_args: Any, **_fields: Any) -> _Silent:
        return self


def identify(*, user: str | None = None, session: str | None = None) -> None:
    """Say whose request this is. The user is kept as a keyed hash only; without a user key, not at all."""
    unit = current_unit()
    if unit is None:
        return
    if user is not None:
        unit.user_hash = unit.recorder.hash_user(user)
    if session is not None:
        unit.session_id = unit.recorder.hash_session(session)


def flush(timeout_s: float = 2.0) -> bool:
    """Send what is queued, for at most `timeout_s` seconds; True when everything was handed over."""
    from . import _setup

    return _setup.flush(timeout_s)


def shutdown(timeout_s: float | None = None) -> bool:
    """Flush and stop, within `timeout_s` (default: the configured 2 s) even when the collector hangs."""
    from . import _setup

    return _setup.shutdown(timeout_s)


class spending:
    """Book the time of a block to a resource that no library reports.

    `resource` is `<kind>:<target>`, such as `lock:inventory` or `limiter:mail`. Put it around the
    wait, not around the work: `with spending("lock:inventory"): lock.acquire()`. Outside a request
    it does nothing. Works in coroutines and threads.
    """

    __slots__ = ("_detail", "_frame", "_resource", "_token")

    def __init__(self, resource: str, detail: str = "") -> None:
        self._resource = resource if ":" in resource else f"lock:{resource}"
        self._detail = detail
        self._frame: Frame | None = None
        self._token: Token[Frame | None] | None = None

    def __enter__(self) -> None:
        self._frame = open_frame(self._resource, self._detail)
        if self._frame is not None:
            self._token = FRAME.set(self._frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        frame, token = self._frame, self._token
        if frame is None or token is None:
            return
        leave(token)
        # Both mean that the caller went away, which is no failure of what was waited for.
        cancelled = isinstance(error, (asyncio.CancelledError, GeneratorExit))
        close_frame(frame, failed=error is not None and not cancelled, cancelled=cancelled)
        if error is not None:
            stamp(error, frame)
