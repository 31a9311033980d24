"""The command that starts the service: which server, application, workers and address it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SERVERS = ("uvicorn", "gunicorn", "hypercorn", "granian", "waitress-serve", "fastapi", "flask")
_WORKERS = ("--workers", "-w")
_CLASS = ("-k", "--worker-class")
_HOSTS = ("--host", "--bind", "-b")
LOOPBACK = ("127.0.0.1", "::1", "localhost", "[::1]", "")


@dataclass(frozen=True)
class StartLine:
    """What was read from a command line such as `firstcause run uvicorn shop:app --workers 4`."""

    server: str = ""
    app: str = ""
    """`module:attribute`."""
    workers: int = 1
    worker_class: str = ""
    host: str = ""
    words: tuple[str, ...] = ()
    by_run: bool = False
    """Whether `firstcause run` starts it, so that the application needs no `configure` of its own."""

    @property
    def is_public(self) -> bool:
        """Whether it listens on more than loopback."""
        return bool(self.host) and self.host not in LOOPBACK


def parse(words: Sequence[str], environ: Mapping[str, str]) -> StartLine:
    """Read a command line; `WEB_CONCURRENCY` counts where no number of workers is given."""
    words = [word for given in words for word in _split(given)]
    by_run = any(first.endswith("firstcause") and second == "run" for first, second in pairwise(words))
    server = next((name for word in words for name in SERVERS if word.rpartition("/")[2] == name), "")
    # uvicorn and gunicorn read the variable themselves.
    workers = _number(_after(words, _WORKERS)) or _number(environ.get("WEB_CONCURRENCY", "")) or 1
    host = _host(_after(words, _HOSTS))
    return StartLine(server, _app(words), workers, _after(words, _CLASS), host, tuple(words), by_run)


def _host(given: str) -> str:
    """An address without its port; a socket in the file system is on no network, so it has none."""
    if given.startswith(("unix:", "fd:")):
        return ""
    if given.startswith("["):
        return given.partition("]")[0] + "]"
    # Only an IPv6 address has more than one colon, and without brackets it has no port.
    return given if given.count(":") > 1 else given.partition(":")[0]


def _split(word: str) -> list[str]:
    """`--workers=4` is two words."""
    name, equals, value = word.partition("=")
    return [name, value] if equals and name.startswith("-") else [word]


def _after(words: Sequence[str], names: Sequence[str]) -> str:
    return next((value for name, value in pairwise(words) if name in names), "")


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _app(words: Sequence[str]) -> str:
    """The first word of the form `package.module:attribute`, also with `()` behind it for a factory."""
    for word in words:
        module, colon, name = word.partition(":")
        if colon and module.replace(".", "").isidentifier() and name.removesuffix("()").isidentifier():
            return word
    return ""
