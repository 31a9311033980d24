"""Entry points of `opentelemetry-instrument`: it starts us, and contrib does what we have no module for."""

from __future__ import annotations

from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # has no stubs

OURS = frozenset((
    "fastapi", "starlette", "flask", "django", "asgi", "wsgi", "threading", "logging", "structlog",
    "httpx", "requests", "urllib3", "aiohttp-client", "sqlalchemy", "psycopg", "asyncpg", "redis", "celery", "huey",
    "grpc_client", "grpc_server", "grpc_aio_client", "grpc_aio_server",
))  # fmt: skip
"""Names of instrumentations whose work we do ourselves; both would count everything twice."""


class Distro(BaseDistro):  # type: ignore[misc]
    """Chosen by `OTEL_PYTHON_DISTRO=firstcause` where another distribution is installed too."""

    def _configure(self, **kwargs: Any) -> None:
        """Settings are read by the configurator."""

    def load_instrumentor(self, entry_point: Any, **kwargs: Any) -> None:
        """Load one instrumentation, unless its work is ours."""
        if entry_point.name not in OURS:
            super().load_instrumentor(entry_point, **kwargs)


class Configurator:
    """Chosen by `OTEL_PYTHON_CONFIGURATOR=firstcause` where another one is installed too."""

    def configure(self, **_kwargs: Any) -> None:
        """Configure this process now, and attach to applications when they are made."""
        from . import _run

        _run.configure()
        _run.get_ready()
