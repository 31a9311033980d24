"""A span that is current while a block or a function runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from contextvars import Token
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace as api

from ..diagnosis.ledger import FRAME, Frame
from .span import RECORD, STATUS

if TYPE_CHECKING:
    from .span import Span

Function = TypeVar("Function", bound=Callable[..., Any])


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
        self._token = otel_context.attach(api.set_span_in_context(span))
        if span.opened is not None:
            self._frame_token = FRAME.set(span.opened)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._frame_token is not None:
            # Left in another context than entered: a generator that is closed elsewhere.
            with suppress(ValueError):
                FRAME.reset(self._frame_token)
        otel_context.detach(self._token)
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
