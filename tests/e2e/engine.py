"""A Docker engine of the test's own, and stand-ins for the images that a registry would give.

The engine is a `dockerd` with its own socket and its own store in the project's cache: what it builds under official
names is seen by no other engine. A stand-in is the same program as in the image (`demo_app.programs`, and the packages
with PostgreSQL and Redis), on a Debian root, with the user, the folders and the entry point that the image has.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from demo_app import parts
from demo_app.programs import ProgramMissingError, cache, find

ROOT = Path(__file__).parents[2]
READY_S, BUILD_S = 60.0, 900.0
DEBIAN = "firstcause/standin-debian:bookworm"


class EngineMissingError(RuntimeError):
    """No engine can be started here; the message says why, and what to install."""


class Engine:
    """One `dockerd`, and the two clients that talk to it."""

    def __init__(self, socket: Path) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "COMPOSE_"))},
            "DOCKER_HOST": f"unix://{socket}",
            "DOCKER_BUILDKIT": "0",  # the plain builder, which every client has
            "DOCKER_CONFIG": str(socket.parent),  # no credentials, no contexts of the caller's
        }
        self._compose = str(find("docker-compose"))

    def docker(self, *arguments: str, seconds: float = BUILD_S, **options: object) -> str:
        """What `docker …` prints; raises with what it said when it fails."""
        return said(["docker", *arguments], self._environment, seconds, **options)

    def compose(self, folder: Path, *arguments: str, seconds: float = BUILD_S) -> str:
        """What `docker compose …` prints in a folder."""
        environment = {**self._environment, "DOCKER_BUILDKIT": "1"}  # compose brings a client of BuildKit
        return said([self._compose, *arguments], environment, seconds, cwd=folder)


def said(command: list[str], environment: dict[str, str], seconds: float, **options: object) -> str:
    """The output of a command, both streams; it ends well, or this raises with the end of it."""
    done = subprocess.run(
        command,
        env=environment,
        timeout=seconds,
        check=False,
        text=True,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} … ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return str(done.stdout)


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine until the block ends; raises `EngineMissingError` where there can be none."""
    missing = [name for name in ("dockerd", "docker", "debootstrap") if shutil.which(name) is None]
    if missing:
        raise EngineMissingError(f"no {', '.join(missing)}: apt-get install docker.io debootstrap")
    if os.geteuid() != 0:
        raise EngineMissingError("dockerd starts as root only: run it as root")
    if Path("/var/run/docker.sock").is_socket():
        raise EngineMissingError("an engine runs already, and two share the machine's networks: stop it first")
    store = cache().parent / "engine"
    home = Path(tempfile.mkdtemp(prefix="firstcause-engine-"))
    log, socket = home / "dockerd.log", home / "docker.sock"
    command = [
        "dockerd", "--host", f"unix://{socket}", "--data-root", str(store), "--exec-root", str(home / "run"),
        "--pidfile", str(home / "pid"),
    ]  # fmt: skip
    try:
        running = Engine(socket)
    except ProgramMissingError as error:
        raise EngineMissingError(str(error)) from error
    process = parts.spawn(command, log, None, stop=signal.SIGTERM)
    try:
        await_engine(running, process, log)
        yield running
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def await_engine(running: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it answers; an engine that ends instead says why."""
    limit = time.monotonic() + READY_S
    while True:
        try:
            running.docker("version", seconds=20)
        except RuntimeError:
            if process.poll() is not None or time.monotonic() > limit:
                raise EngineMissingError(f"dockerd does not start here:\n{parts.tail(log, 5)}") from None
            time.sleep(0.2)
        else:
            return


# -- stand-ins ----------------------------------------------------------------------------------------


def tag(name: str) -> str:
    """The version of an image that the compose file, or the Dockerfile, asks for."""
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Dockerfile").read_text()
    (found,) = set(re.findall(rf"(?:image: |FROM )({re.escape(name)}:\S+)", text))
    return str(found)


POSTGRES_ENTRY = """#!/bin/sh
# What the official image does and the compose file relies on.
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    initdb -D "$PGDATA" -U postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust --auth-host=scram-sha-256
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    printf "listen_addresses='*'\\nunix_socket_directories='/var/run/postgresql'\\n" >>"$PGDATA/postgresql.conf"
fi
exec "$@"
"""


def _program(name: str, place: str, *lines: str) -> Callable[[Path], str]:
    """A Debian root with one program of ours in the place where the image has it."""

    def made(context: Path) -> str:
        shutil.copy2(find(name), context / "program")
        return "\n".join((f"FROM {DEBIAN}", f"COPY program {place}", *lines, f'ENTRYPOINT ["{place}"]'))

    return made


def _busybox(context: Path) -> str:
    shutil.copy2(debian() / "bin/busybox", context / "busybox")
    return 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]'


def _redis(context: Path) -> str:
    server = Path(parts.redis_binary())
    for name in ("redis-server", "redis-cli"):
        shutil.copy2(server.with_name(name), context / name)
    return f"FROM {DEBIAN}\nCOPY redis-server redis-cli /usr/local/bin/\nRUN install -d -o 999 -g 1000 /data"


def _postgres(context: Path) -> str:
    install = parts._binaries().parent.resolve()
    package = install.parent
    for folder in (install.relative_to(package.parent), Path(f"{package.name}.libs")):
        shutil.copytree(package.parent / folder, context / "tree" / folder, symlinks=True)
    (context / "entry").write_text(POSTGRES_ENTRY)
    (context / "entry").chmod(0o755)
    return f"""FROM {DEBIAN}
COPY tree /opt
COPY entry /usr/local/bin/
RUN echo postgres:x:70:70::/:/bin/sh >>/etc/passwd && install -d -o 70 -g 70 /var/lib/postgresql /var/run/postgresql
ENV PATH=/opt/{install.relative_to(package.parent)}/bin:$PATH LANG=C.UTF-8
ENV PGDATA=/var/lib/postgresql/18/docker PGHOST=/var/run/postgresql
ENTRYPOINT ["entry"]"""


STANDINS: dict[str, Callable[[Path], str]] = {
    "busybox": _busybox,
    "postgres": _postgres,
    "redis": _redis,
    "prom/prometheus": _program("prometheus", "/bin/prometheus", "RUN install -d -o 65534 /prometheus", "WORKDIR /prometheus"),
    "prom/alertmanager": _program("alertmanager", "/bin/alertmanager", "RUN install -d -o 65534 /alertmanager"),
    "otel/opentelemetry-collector-contrib": _program("firstcause-collector", "/otelcol-contrib"),
    "jaegertracing/jaeger": _program("jaeger", "/cmd/jaeger/jaeger-linux"),
    "grafana/loki": _program("loki", "/usr/bin/loki"),
}  # fmt: skip


def debian() -> Path:
    """A Debian root with Python, made once and kept in the cache."""
    place = cache().parent / "debian-bookworm"
    if not place.is_dir():
        half = place.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        packages = "--include=python3,python3-venv,busybox-static,ca-certificates"
        said(["debootstrap", "--variant=minbase", packages, "bookworm", str(half)], dict(os.environ), BUILD_S)
        half.rename(place)
    return place


def import_debian(running: Engine) -> None:
    """The root as image, with the machine's certificates and settings of pip."""
    root = debian()
    (root / "usr/local/bin/python").unlink(missing_ok=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    (root / "usr/local/bin/wget").unlink(missing_ok=True)
    (root / "usr/local/bin/wget").symlink_to("/bin/busybox")
    for name in ("etc/pip.conf", "etc/ssl/certs/ca-certificates.crt"):
        if (Path("/") / name).exists():
            shutil.copyfile(Path("/") / name, root / name)
    kept = [
        f"--change=ENV {name}={value}" for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "PIP_CERT")
    ]
    pack = ["tar", "-C", str(root), "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*", "-c", "."]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        running.docker("import", *kept, "-", DEBIAN, stdin=packing.stdout)


def stand_in(running: Engine) -> list[str]:
    """Build every stand-in; what has not changed is in the engine's store. Returns their tags."""
    if DEBIAN not in running.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        import_debian(running)
    running.docker("tag", DEBIAN, tag("python"))
    for name, made in STANDINS.items():
        with tempfile.TemporaryDirectory() as context:
            (Path(context) / "Dockerfile").write_text(made(Path(context)) + "\n")
            running.docker("build", "-q", "-t", tag(name), context)
    return [tag("python"), *map(tag, STANDINS)]
