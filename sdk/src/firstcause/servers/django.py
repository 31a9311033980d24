"""Django under WSGI and ASGI: outermost around its handlers, without a line of code in the project.

Any of these is enough, and several do no harm:

    # wsgi.py, asgi.py or settings.py, before or after the application is made
    firstcause.configure(service="shop")                       # every handler of this process
    firstcause.configure(service="shop", app=application)      # the same, and says so in the report

    # settings.py alone: configured by `django.setup()`, also for `manage.py`
    INSTALLED_APPS = ["firstcause.servers.django.App", ...]
    FIRSTCAUSE = {"service": "shop"}                           # or OTEL_SERVICE_NAME

There is no entry for `MIDDLEWARE`: Django's middleware runs inside the handler, where the request's body has
been read and the answer has not been sent. Routes are those of `resolver_match`, exceptions those of the
`got_request_exception` signal; queries are booked by `clients.django`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.core.signals import got_request_exception

from .._guard import guard
from ..clients.call import RUNTIME
from ..clients.patches import Patches
from ..diagnosis.unit import current_unit
from .failure import note_failure

if TYPE_CHECKING:
    from .._recorder import Recorder

_patches = Patches()
_patched: set[type] = set()


class App(AppConfig):  # type: ignore[misc]
    """For `INSTALLED_APPS`: `configure` with the settings of `FIRSTCAUSE`."""

    name = "firstcause.servers.django"
    label = "firstcause"

    def ready(self) -> None:
        """Django has read its settings; raises `ConfigError` for those of ours that cannot work."""
        from django.conf import settings

        import firstcause

        firstcause.configure(**getattr(settings, "FIRSTCAUSE", {}))


def instrument() -> None:
    """Patch the handlers that are imported; called again when another one is."""
    for module, name, call in (("wsgi", "WSGIHandler", _wsgi), ("asgi", "ASGIHandler", _asgi)):
        handlers = sys.modules.get(f"django.core.handlers.{module}")
        handler = getattr(handlers, name, None)
        if handler is not None and handler not in _patched:
            _patch_base(handler.__mro__[1])
            _patched.add(handler)
            _patches.put(handler, "__call__", call)


def _patch_base(base: type) -> None:
    if base not in _patched:
        _patched.add(base)
        _patches.put(base, "resolve_request", _resolve_request)
        got_request_exception.connect(_raised, weak=False, dispatch_uid="firstcause")


def uninstrument() -> None:
    """Put Django back."""
    _patches.undo()
    _patched.clear()
    got_request_exception.disconnect(dispatch_uid="firstcause")


def attach(app: Any, recorder: Callable[[], Recorder | None]) -> str:
    """Watch `app`, a handler of Django's, with all others of its process."""
    before = type(app).__call__ if callable(app) else None
    instrument()
    return "already attached" if before is type(app).__call__ else "attached outermost"


def _recorder() -> Recorder | None:
    return RUNTIME.recorder


def _wsgi(original: Any) -> Any:
    from .wsgi import Middleware

    def __call__(self: Any, environ: dict[str, Any], start_response: Any) -> Any:  # noqa: N807
        return _around(self, original, Middleware)(environ, start_response)

    return __call__


def _asgi(original: Any) -> Any:
    from .asgi import Middleware

    # A coroutine function, by which servers tell an application of this kind.
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:  # noqa: N807
        await _around(self, original, Middleware)(scope, receive, send)

    return __call__


def _around(handler: Any, original: Any, middleware: Any) -> Any:
    """The middleware of one handler, which lives as long as the process."""
    made = handler.__dict__.get("_firstcause")
    if made is None:
        made = handler._firstcause = middleware(partial(original, handler), _recorder)
    return made


def _resolve_request(original: Any) -> Any:
    def resolve_request(self: Any, request: Any) -> Any:
        match = original(self, request)
        with guard("django.route"):
            unit = current_unit()
            if unit is not None and unit.kind == "server":
                unit.route = _template(match.route)
        return match

    return resolve_request


@lru_cache(maxsize=1024)
def _template(route: str) -> str:
    """The route as a path: `^orders/(?P<pk>[0-9]+)/$` is `/orders/<pk>/`, as `orders/<int:pk>/` stays itself."""
    if "(" in route or "^" in route or "\\" in route:
        # Django's own way to show a pattern; the app need not be installed for it.
        from django.contrib.admindocs import utils

        route = utils.replace_unnamed_groups(utils.replace_named_groups(route))
        route = getattr(utils, "replace_metacharacters", _plain)(route)
    return route if route.startswith("/") else "/" + route


def _plain(pattern: str) -> str:
    return pattern.replace("^", "").replace("$", "").replace("?", "")


def _raised(sender: Any = None, request: Any = None, **_more: Any) -> None:
    """Sent while the exception is being handled, before the answer is made."""
    with guard("django.raised"):
        unit, error = current_unit(), sys.exc_info()[1]
        if unit is not None and isinstance(error, Exception):
            note_failure(unit, error)
