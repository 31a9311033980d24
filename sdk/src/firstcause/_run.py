"""`firstcause run <command>`: the command as it is, watched without a change of its code.

The command replaces this process, with a folder in front of `PYTHONPATH` whose sitecustomize runs in
every Python process that follows: workers, reloaders, spawned children. Each becomes ready there, and is
configured when it first imports something to watch, so that supervisors and helpers stay as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from ._errors import ConfigError

BOOTSTRAP = str(Path(__file__).with_name("bootstrap"))
CANNOT_RUN, NOT_FOUND = 126, 127
"""Exit statuses as a shell has them."""
GENERIC = frozenset(("app", "application", "main", "wsgi", "asgi", "server", "api", "manage", "__main__", "src", "run"))
"""Names that say nothing of a service; the next part of the path, or the folder, says more."""

APPLICATIONS = {
    "fastapi.applications": ("FastAPI",),
    "starlette.applications": ("Starlette",),
    "flask.app": ("Flask",),
    "django.core.handlers.wsgi": ("WSGIHandler",),
    "django.core.handlers.asgi": ("ASGIHandler",),
}
"""Where applications are made; one that is made is attached to."""
LIBRARIES = (
    "httpx", "requests", "urllib3", "aiohttp.client", "sqlalchemy", "psycopg", "asyncpg", "redis", "celery", "huey",
    "grpc",
)  # fmt: skip
"""What a process that serves nothing is known by."""


# -- the command ------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `firstcause run` takes."""
    parser.add_argument("--service", help="service name (default: OTEL_SERVICE_NAME, else told from the command)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments, as without us")


def main(arguments: argparse.Namespace) -> int:
    """Become the command; returns only when that cannot be done."""
    # argparse keeps the `--` in front of a remainder.
    command = [part for n, part in enumerate(arguments.command) if n or part != "--"]
    if not command:
        return _cannot(2, "which command? As in: firstcause run uvicorn shop:app --workers 4")
    program = shutil.which(command[0])
    if program is None:
        return _cannot(NOT_FOUND, f"{command[0]!r} is not found: give a program on PATH, or a path to one")
    try:
        environ = environment(os.environ, command, arguments.service)
    except ConfigError as error:
        return _cannot(2, str(error))
    try:
        os.execve(program, command, environ)  # noqa: S606 - the command is the user's own
    except OSError as error:
        return _cannot(CANNOT_RUN, f"{program!r} cannot be run ({error.strerror})")


def _cannot(status: int, why: str) -> int:
    print(f"firstcause run: {why}", file=sys.stderr)
    return status


def environment(environ: Mapping[str, str], command: Sequence[str], service: str | None = None) -> dict[str, str]:
    """The command's environment; raises `ConfigError` for settings that cannot work."""
    from ._config import Config

    found = dict(environ)
    if service:
        found["OTEL_SERVICE_NAME"] = service
    elif not found.get("OTEL_SERVICE_NAME") and "service.name=" not in found.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        found["OTEL_SERVICE_NAME"] = service_of(command, Path.cwd().name)
    # For its errors alone: here they stop the command, later they would be a line among its output.
    Config.from_env(found)
    # Ours only once, also for a `firstcause run` inside another.
    rest = [entry for entry in found.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != BOOTSTRAP]
    found["PYTHONPATH"] = os.pathsep.join([BOOTSTRAP, *rest])
    return found


def service_of(command: Sequence[str], folder: str) -> str:
    """A service name told from a command: its application, module or script, else the folder it is started in.

    `uvicorn shop.orders.main:app` is `orders`, `celery -A mail worker` is `mail`, `python worker.py` is `worker`.
    """
    words = list(command)
    for n, word in enumerate(words[1:], 1):
        module, colon, attribute = word.partition(":")
        is_application = colon and attribute.replace(".", "").isidentifier() and module.replace(".", "").isidentifier()
        # `python -m uvicorn` names a server, and no service yet.
        if is_application or (words[n - 1] in ("-A", "--app", "-m") and module not in SERVERS):
            return _telling(module.split("."), folder)
    script = next((word for word in words[1:] if word.endswith(".py")), "")
    return _telling([Path(script).stem] if script else [], folder)


SERVERS = frozenset(("uvicorn", "gunicorn", "hypercorn", "waitress", "flask", "celery", "django", "pytest"))


def _telling(parts: Sequence[str], folder: str) -> str:
    return next((part for part in reversed(parts) if part and part not in GENERIC), folder)[:64] or "unnamed"


# -- in each process ----------------------------------------------------------------------------------


def get_ready() -> None:
    """Configure this process when it first makes an application or imports a library we watch."""
    from ._imports import after_import

    for module, classes in APPLICATIONS.items():
        after_import(module, _attaching(classes))
    for library in LIBRARIES:
        after_import(library, _imported)


def _imported(_module: ModuleType) -> None:
    configure()


def _attaching(classes: Sequence[str]) -> Callable[[ModuleType], None]:
    def seen(module: ModuleType) -> None:
        for name in classes:
            _attach_when_made(getattr(module, name))

    return seen


def _attach_when_made(kind: Any) -> None:
    inner = kind.__init__

    @wraps(inner)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        inner(self, *args, **kwargs)
        configure(self)

    kind.__init__ = made


_failed = False


def configure(app: Any = None) -> None:
    """As `firstcause.configure`, for a host that did not ask for it: what is wrong is said once, and nothing raised."""
    global _failed
    if _failed:
        return
    from . import _front

    try:
        _front.configure(_named(), app=app)
    except Exception as error:  # noqa: BLE001 - the host did not call us
        _failed = True
        print(f"firstcause: this process is not watched: {error}", file=sys.stderr)


def _named() -> str | None:
    given = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return None if given else service_of(sys.orig_argv, Path.cwd().name)
