"""Celery: a PRODUCER span per published message, a unit of work per executed task, in every kind of pool.

Context travels in message headers. A task that failed or is to be retried counts as an error; an ignored or
eagerly called one does not make a unit (an eager task is a plain call of whoever makes it). Pool processes
hand over what they have before they are recycled or stopped, since Celery ends them without `atexit`. What
the parent alone knows of (hard time limits, children that were killed) it reports itself.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from time import time
from typing import Any

from celery import signals
from celery.app.base import Celery

from .._guard import guard
from .._imports import after_import, forget
from ..diagnosis.ledger import FRAME
from ..servers.failure import note_failure
from .call import RUNTIME, Call
from .messages import NAMES, Consuming, begin, carrier, publishing
from .patches import Patches

_patches = Patches()
_request_patches = Patches()
_publishing: ContextVar[Call | None] = ContextVar("firstcause_publishing", default=None)
_UNIT = "_firstcause_message"
_LOST = frozenset(("TimeLimitExceeded", "WorkerLostError"))
"""What ends a task from outside its process."""


def instrument() -> None:
    """Patch publishing and listen to the workers' signals; safe to call again."""
    if _patches:
        return
    _patches.put(Celery, "send_task", _send_task)
    for signal, receiver in _receivers():
        signal.connect(receiver, weak=False, dispatch_uid=f"firstcause.{receiver.__name__}")
    after_import("celery.worker.request", _watch_requests)


def uninstrument() -> None:
    """Put Celery back."""
    forget(_watch_requests)
    _patches.undo()
    _request_patches.undo()
    for signal, receiver in _receivers():
        signal.disconnect(receiver, dispatch_uid=f"firstcause.{receiver.__name__}")


def _receivers() -> tuple[tuple[Any, Any], ...]:
    return (
        (signals.before_task_publish, _publishes), (signals.task_prerun, _begins), (signals.task_failure, _failed),
        (signals.task_retry, _retried), (signals.task_internal_error, _failed), (signals.task_postrun, _ends),
        (signals.worker_process_init, _child_starts), (signals.worker_process_shutdown, _child_ends),
    )  # fmt: skip


# -- publishing ---------------------------------------------------------------------------------


def _send_task(original: Any) -> Any:
    def send_task(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if RUNTIME.recorder is None:
            return original(self, name, *args, **kwargs)
        # A guess: the frame has to be open before the message is routed, and `_publishes` knows better.
        queue = kwargs.get("queue") or kwargs.get("routing_key") or self.conf.task_default_queue
        with publishing("celery", str(getattr(queue, "name", queue)), name) as call:
            token = _publishing.set(call)
            try:
                return original(self, name, *args, **kwargs)
            finally:
                _publishing.reset(token)

    return send_task


def _publishes(routing_key: Any = None, exchange: Any = None, headers: Any = None, **_more: Any) -> None:
    """The message is routed: its queue is known, and its headers are still open."""
    with guard("celery.publish"):
        call = _publishing.get()
        if call is None or headers is None:
            return
        queue = str(routing_key or getattr(exchange, "name", exchange) or "celery")
        if call.frame is not None:
            call.frame.resource = f"queue:{queue}"
        if call.span is not None:
            call.span.name = f"send {queue}"
            call.attributes["messaging.destination.name"] = queue
            call.attributes["messaging.message.id"] = str(headers.get("id", ""))
        # A retry and a chain hand on the headers they came with: what is not said anew must go.
        for name in NAMES:
            headers.pop(name, None)
        headers.update(carrier(call))


# -- working ------------------------------------------------------------------------------------


def _begins(task: Any = None, **_more: Any) -> None:
    with guard("celery.begin"):
        request = task.request
        if request.is_eager:
            return
        message = _begun(task.name, request.get)
        if message is not None:
            # Celery's own object for this run, so that it need not be cleaned out of a table of ours.
            setattr(request, _UNIT, message)


def _begun(name: str, read: Any) -> Consuming | None:
    delivery = read("delivery_info") or {}
    queue = delivery.get("routing_key") or delivery.get("exchange") or "celery"
    came = {header: read(header) for header in NAMES}
    message = begin("celery", str(queue), name, came, _epoch(read("eta")))
    if message is not None:
        message.unit.span.attributes["messaging.message.id"] = str(read("id"))
    return message


def _epoch(eta: object) -> float:
    if not isinstance(eta, (str, datetime)) or not eta:
        return 0.0
    due = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
    return due.timestamp()


def _current(task: Any) -> Consuming | None:
    message: Consuming | None = getattr(task.request, _UNIT, None)
    return message


def _failed(sender: Any = None, exception: Any = None, **_more: Any) -> None:
    with guard("celery.failed"):
        message = _current(sender)
        if message is not None and isinstance(exception, Exception):
            note_failure(message.unit, exception)


def _retried(sender: Any = None, reason: Any = None, **_more: Any) -> None:
    """The reason is Celery's Retry; what made the task ask for it is inside."""
    with guard("celery.retried"):
        message = _current(sender)
        error = getattr(reason, "exc", None) or reason
        if message is not None:
            note_failure(message.unit, error if isinstance(error, Exception) else RuntimeError(str(reason)))


def _ends(task: Any = None, **_more: Any) -> None:
    with guard("celery.end"):
        message = task.request.__dict__.pop(_UNIT, None)
        if message is not None:
            message.finish()


# -- processes ----------------------------------------------------------------------------------


def _child_starts(**_more: Any) -> None:
    """Celery has put the signals of a pool process back to their defaults: ours among them."""
    with guard("celery.child"):
        from .. import _setup

        if _setup._state.exit is not None:
            _setup._state.exit._on_sigterm()


def _child_ends(**_more: Any) -> None:
    with guard("celery.child"):
        from .. import _setup

        _setup.shutdown()


def _watch_requests(module: Any) -> None:
    _request_patches.put(module.Request, "on_timeout", _on_timeout)
    _request_patches.put(module.Request, "on_failure", _on_failure)


def _on_timeout(original: Any) -> Any:
    def on_timeout(self: Any, soft: Any, timeout: Any) -> Any:
        # A soft limit raises inside the task, which then reports itself.
        if not soft:
            from celery.exceptions import TimeLimitExceeded

            _lost(self, TimeLimitExceeded(timeout))
        return original(self, soft, timeout)

    return on_timeout


def _on_failure(original: Any) -> Any:
    def on_failure(self: Any, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        error = getattr(exc_info, "exception", None)
        # billiard may hand the exception over inside of one that carries the traceback.
        error = getattr(error, "exc", error)
        if type(error).__name__ in _LOST:
            _lost(self, error)
        return original(self, exc_info, *args, **kwargs)

    return on_failure


def _lost(request: Any, error: Any) -> None:
    """A task that cannot report itself any more: where its time went is not known, only how much it was."""
    with guard("celery.lost"):
        token = FRAME.set(None)
        try:
            message = _begun(request.name, {"delivery_info": request.delivery_info, **request._request_dict}.get)
            if message is None:
                return
            unit, ran_s = message.unit, time() - (request.time_start or time())
            _ran(unit, int(max(0.0, ran_s) * 1e9))
            note_failure(unit, error)
            message.finish()
        finally:
            FRAME.reset(token)


def _ran(unit: Any, ns: int) -> None:
    """Of what was taken for waiting, `ns` were running: own code, which is the ledger's remainder."""
    for resource, account in unit.ledger.accounts.items():
        if resource.startswith("queue:"):
            account.ns -= min(ns, account.ns)
            return
    unit.ledger.start -= ns
    unit.started_ns -= ns
