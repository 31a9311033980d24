"""The metrics on the application itself, for those who ask for it with `metrics_path`."""

from __future__ import annotations

from typing import Any

from .exposition import Exposition, answer, asgi_app


def mount(app: Any, path: str, exposition: Exposition) -> str:
    """Add a route to a FastAPI, Starlette or Flask application; returns one line for the report."""
    if any(getattr(route, "path", "") == path for route in getattr(app, "routes", ())):
        return f"metrics on the application: it has a route {path} of its own, which stays"
    if hasattr(app, "add_url_rule"):
        app.add_url_rule(path, "firstcause-metrics", lambda: _flask(exposition))
    else:
        from starlette.routing import Route

        # First of all routes: one that takes every path would hide it.
        app.router.routes.insert(0, Route(path, endpoint=_Endpoint(asgi_app(exposition)), include_in_schema=False))
    return f"metrics on the application at {path}"


class _Endpoint:
    """An object, so that Starlette takes it for an ASGI application and not for a function of a request."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


def _flask(exposition: Exposition) -> Any:
    from flask import Response, request

    status, headers, body = answer(
        exposition, request.headers.get("Accept", ""), request.headers.get("Accept-Encoding", "")
    )
    return Response(body, status, headers)
