"""Our own time-outs told from cancellations: asyncio and anyio cancel what takes too long.

A call that ends by `CancelledError` was given up by the caller, which is nobody's failure, or it ran
into `asyncio.timeout`, `wait_for` or a scope with a deadline, and then it failed. Whoever started the
call carries the deadlines it is under, also into child tasks, so they can be asked whether they fired.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import asyncio.timeouts
import sys
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from .._guard import guard
from ..diagnosis.ledger import FRAME, Ledger
from .patches import Patches

_patches = Patches()


class _Deadline:
    """One `asyncio.timeout` while it is entered; emptied at its end, since contexts of child tasks may live on."""

    __slots__ = ("timeout",)

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self.timeout: asyncio.Timeout | None = timeout


_entered: ContextVar[tuple[_Deadline, ...]] = ContextVar("firstcause_deadlines", default=())
_giving_up: list[Ledger] = []
"""Units in which `wait_for` (Python 3.11) is cancelling what took too long, while it does."""


def instrument_deadlines() -> None:
    """Watch `asyncio.timeout` and `wait_for` inside units; safe to call again."""
    if _patches:
        return
    _patches.put(asyncio.timeouts.Timeout, "__aenter__", _entering)
    _patches.put(asyncio.timeouts.Timeout, "__aexit__", _leaving)
    # Python 3.11's `wait_for` cancels by itself; from 3.12 on it stands on `asyncio.timeout`.
    if hasattr(asyncio.tasks, "_cancel_and_wait"):
        _patches.put(asyncio.tasks, "_cancel_and_wait", _cancelling)


def uninstrument_deadlines() -> None:
    """Put asyncio back."""
    _patches.undo()


def expired() -> bool:
    """Whether the cancellation that passes through the current task comes from a time-out of the caller's own."""
    for deadline in _entered.get():
        if deadline.timeout is not None and deadline.timeout.expired():
            return True
    frame = FRAME.get()
    if frame is not None and any(ledger is frame.ledger for ledger in _giving_up):
        return True
    with guard("clients.anyio"):
        return _scope_expired()
    return False


def _scope_expired() -> bool:
    """The same for anyio, whose scopes know their deadline and what they lie in."""
    backend: Any = sys.modules.get("anyio._backends._asyncio")
    if backend is None:
        return False
    try:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
    except RuntimeError:  # cancelled in a thread: nothing of anyio's
        return False
    state = None if task is None else backend._task_states.get(task)
    scope = None if state is None else state.cancel_scope
    while scope is not None:
        if scope.cancel_called and loop.time() >= scope.deadline:
            return True
        scope = scope._parent_scope
    return False


def _entering(original: Any) -> Any:
    async def enter(self: Any) -> Any:
        entered = await original(self)
        if FRAME.get() is not None:
            deadline = _Deadline(self)
            self._firstcause = deadline, _entered.set((*_entered.get(), deadline))
        return entered

    return enter


def _leaving(original: Any) -> Any:
    async def leave(self: Any, *what: Any) -> Any:
        found = self.__dict__.pop("_firstcause", None)
        if found is not None:
            deadline, token = found
            deadline.timeout = None
            # An async generator may be closed in another context than it was entered in.
            with suppress(ValueError):
                _entered.reset(token)
        return await original(self, *what)

    return leave


def _cancelling(original: Any) -> Any:
    async def _cancel_and_wait(*args: Any, **kwargs: Any) -> Any:
        frame = FRAME.get()
        # `wait_for` comes here too when it was cancelled itself: then inside its handler.
        if frame is None or isinstance(sys.exc_info()[1], asyncio.CancelledError):
            return await original(*args, **kwargs)
        _giving_up.append(frame.ledger)
        try:
            return await original(*args, **kwargs)
        finally:
            _giving_up.remove(frame.ledger)

    return _cancel_and_wait
