"""A span that is current while a block or a function runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.context import _RUNTIME_CONTEXT, Context
from opentelemetry.trace.propagation import _SPAN_KEY

from ..diagnosis.ledger import FRAME, Frame, leave
from .span import RECORD, STATUS

if TYPE_CHECKING:
    from .span import Span

Function = TypeVar("Function", bound=Callable[..., Any])
_variable: Any = getattr(_RUNTIME_CONTEXT, "_current_context", None)
_current, _attach, _detach = (
    # The usual runtime only passes on to a variable: three calls less per request.
    (_variable.get, _variable.set, _variable.reset)
    if isinstance(_variable, ContextVar)
    else (_RUNTIME_CONTEXT.get_current, _RUNTIME_CONTEXT.attach, _RUNTIME_CONTEXT.detach)
)


def activate(span: Span, more: Mapping[str, Any] | None = None) -> Token[Context]:
    """Make `span` current, with `more` of a context (baggage) beside it.

    Half the price of the API's own functions, which copy twice and guard what cannot happen here.
    """
    known = _current()
    if more:
        return _attach(Context({**known, **more, _SPAN_KEY: span}))
    return _attach(Context({**known, _SPAN_KEY: span} if known else {_SPAN_KEY: span}))


def deactivate(token: Token[Context]) -> None:
    """Undo `activate`, silently where there is nothing to undo: see `ledger.leave`."""
    try:
        _detach(token)
    except ValueError:
        return


class Current:
    """Context manager and decorator; also activates the frame that the span opened.

    Unlike the API's `use_span` it also sees errors of unsampled spans, so that their frames fail.
    """

    __slots__ = ("_end", "_frame_token", "_span", "_start", "_token", "_what")

    def __init__(self, start: Callable[[], Span], record: bool, status: bool, end: bool) -> None:
        self._start, self._end = start, end
        self._what = (RECORD if record else 0) | (STATUS if status else 0)
        self._frame_token: Token[Frame | None] | None = None

    def __enter__(self) -> Span:
        span = self._span = self._start()
        self._token = activate(span)
        if span.opened is not None:
            self._frame_token = FRAME.set(span.opened)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._frame_token is not None:
            leave(self._frame_token)
        deactivate(self._token)
        if error is not None:
            self._span.left_by(error, self._what)
        if self._end:
            self._span.end()

    def __call__(self, function: Function) -> Function:
        """Decorate a function: every call gets a span of its own."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]

        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return called  # type: ignore[return-value]

    def _again(self) -> Current:
        return Current(self._start, bool(self._what & RECORD), bool(self._what & STATUS), self._end)
