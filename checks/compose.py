"""The compose file in order: pinned, bounded, closed; nobody is root, no secret is in clear, nobody starts too early.

`docker compose config` says whether the file can be understood. This says whether it is what we promise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FILE = "docker-compose.yml"
Service = dict[str, Any]

# A tag that names a version of at least two numbers, or a digest.
# One number alone still moves: `postgres:18` is another program after each patch release.
PINNED = re.compile(r"[\w./-]+(:v?\d+\.\d[\w.-]*|@sha256:[0-9a-f]{64})")
SECRET = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|(?:^|_)KEY$", re.IGNORECASE)
# Credentials in an address; what is replaced when the service starts is none.
IN_ADDRESS = re.compile(r"://[^/\s:@]*:(?!\$)[^/\s@]+@")
SPOKEN = re.compile(r"(?:requirepass|--?password|--?token|api[-_]?key)[= ](?!\$)\S+", re.IGNORECASE)
# Without an address Docker publishes on all of them, and its own firewall rules come before those of ufw.
LOOPBACK = ("127.0.0.1:", "[::1]:")
READY = "service_healthy"
DONE = "service_completed_successfully"


def problems(root: Path) -> list[str]:
    """Every problem, with the service that has it; none where there is no compose file."""
    path = root / FILE
    if not path.exists():
        return []
    whole = yaml.safe_load(path.read_text())
    services: dict[str, Service] = whole["services"]
    found = [f"{name}: {says}" for name, one in services.items() for says in _of_service(root, name, one, services)]
    return [f"{FILE}: {says}" for says in [*found, *_of_names(whole), *_of_secrets(root, whole), *_of_bases(root)]]


def _of_service(root: Path, name: str, one: Service, services: dict[str, Service]) -> Iterator[str]:
    job = is_job(name, services)
    yield from _image(one)
    yield from _clear(one)
    yield from _open(one)
    yield from _bounds(one)
    yield from _rights(root, one)
    yield from _mounts(root, one)
    yield from _order(one, services)
    if not job and not one.get("healthcheck", {}).get("test"):
        yield "no health check: nobody can wait for it"
    if one.get("environment", {}).get("GF_AUTH_ANONYMOUS_ENABLED", "false") != "false":
        yield "Grafana lets in everybody: GF_AUTH_ANONYMOUS_ENABLED"


def is_job(name: str, services: dict[str, Service]) -> bool:
    """Whether somebody waits for its end; then it needs no health."""
    return any(_waits(other).get(name) == DONE for other in services.values())


def _waits(one: Service) -> dict[str, str]:
    """Whom it waits for, and until when; the short form waits for no more than a start."""
    told = one.get("depends_on", {})
    if isinstance(told, list):
        return dict.fromkeys(told, "")
    return {name: how.get("condition", "") for name, how in told.items()}


def _image(one: Service) -> Iterator[str]:
    image = one.get("image", "")
    if not PINNED.fullmatch(image):
        yield f"image `{image}` is not pinned to a version"


def _clear(one: Service) -> Iterator[str]:
    """Secrets that are readable in the file."""
    for key, value in one.get("environment", {}).items():
        if SECRET.search(key) and not key.endswith("_FILE"):
            yield f"{key} holds a secret: give it as {key}_FILE"
        if key.endswith("_FILE") and not str(value).startswith("/run/secrets/"):
            yield f"{key} is no mounted secret: /run/secrets/…"
    command = one.get("command", "")
    words = [*map(str, one.get("environment", {}).values()), command if isinstance(command, str) else " ".join(command)]
    if any(IN_ADDRESS.search(word) or SPOKEN.search(word) for word in words):
        yield "a password is in clear"


def _open(one: Service) -> Iterator[str]:
    for port in one.get("ports", []):
        if not str(port).startswith(LOOPBACK) and (not isinstance(port, dict) or port.get("host_ip") != "127.0.0.1"):
            yield f"port {port} is open to the network: begin it with 127.0.0.1"
    if one.get("network_mode") == "host":
        yield "network_mode: host publishes every port"


def _bounds(one: Service) -> Iterator[str]:
    limits = one.get("deploy", {}).get("resources", {}).get("limits", {})
    yield from (f"no limit of {what}" for what in ("cpus", "memory", "pids") if what not in limits)
    # Docker's default, json-file, keeps everything that a container ever printed.
    if "max-size" not in one.get("logging", {}).get("options", {}):
        yield "its log grows without end: logging.options.max-size"


def _rights(root: Path, one: Service) -> Iterator[str]:
    if one.get("privileged") or one.get("cap_add") or one.get("cap_drop") != ["ALL"]:
        yield "has capabilities: cap_drop: [ALL]"
    if "no-new-privileges:true" not in one.get("security_opt", []):
        yield "may gain rights: security_opt: [no-new-privileges:true]"
    if one.get("read_only") is not True:
        yield "may write to its image: read_only: true"
    user = one.get("user")
    if user is None:  # `user: 0` is false as well
        user = _user_of(root, one.get("build", {}).get("target", ""))
    if str(user).partition(":")[0] in ("", "0", "root"):
        yield "runs as root, or as whoever the image says: user"


def _mounts(root: Path, one: Service) -> Iterator[str]:
    for mount in one.get("volumes", []):
        source, _, rest = str(mount).partition(":")
        if not rest:
            yield f"volume {mount} has no name"
        elif source.startswith((".", "/")):
            # Docker makes what it does not find: an empty folder of root's where the program expects its file.
            if not source.startswith("./secrets/") and not (root / source).exists():
                yield f"{source} is mounted, and not there"
            if not rest.endswith(":ro"):
                yield f"{source} can be written by it: :ro"
    for path in one.get("env_file", []):
        if not (root / path).exists():
            yield f"{path} is read, and not there"


def _order(one: Service, services: dict[str, Service]) -> Iterator[str]:
    for name, condition in _waits(one).items():
        if condition not in (READY, DONE):
            yield f"waits for {name} to start, not to be healthy"
        # Compose refuses such a file only with that profile, which may be the one that nobody has tried.
        if not set(one.get("profiles", [])) <= set(services.get(name, {}).get("profiles", [])):
            yield f"waits for {name}, which is missing in one of its profiles"


def _of_names(whole: dict[str, Any]) -> Iterator[str]:
    """Volumes and secrets: each declared one is used, each used one declared."""
    services = whole["services"].values()
    mounts = (str(mount).partition(":")[0] for one in services for mount in one.get("volumes", []))
    used = {
        "volumes": {source for source in mounts if not source.startswith((".", "/"))},
        "secrets": {name for one in services for name in one.get("secrets", [])},
    }
    for kind, names in used.items():
        declared = set(whole.get(kind) or {})
        yield from (f"{kind}: {name} is used, and not declared" for name in sorted(names - declared))
        yield from (f"{kind}: {name} is declared, and not used" for name in sorted(declared - names))


def _of_secrets(root: Path, whole: dict[str, Any]) -> Iterator[str]:
    """Every secret is a file that `make secrets` makes and git does not see."""
    made = re.search(r'^NAMES="([^"]*)"', (root / "scripts/secrets").read_text(), re.MULTILINE)
    known = {f"secrets/{name}" for name in made[1].split()} if made else set()
    for name, secret in (whole.get("secrets") or {}).items():
        if secret.get("file") not in known:
            yield f"secrets: `make secrets` does not make {name}"
    if "secrets/" not in (root / ".gitignore").read_text().splitlines():
        yield "secrets: .gitignore does not name secrets/"
    for line in (root / ".env").read_text().splitlines():
        if SECRET.search(line.partition("=")[0]) and not line.startswith("#"):
            yield f".env holds a secret: {line.partition('=')[0]}"


# -- the Dockerfile -----------------------------------------------------------------------------------


def _stages(root: Path) -> dict[str, tuple[str, str]]:
    """Each stage's base, and the user it says last, "" when it says none."""
    stages: dict[str, tuple[str, str]] = {}
    name = ""
    for line in (root / "Dockerfile").read_text().splitlines():
        verb, *words = line.split()[:4] or [""]  # FROM base AS name
        if verb == "FROM":
            name = words[-1]
            stages[name] = (words[0], "")
        elif verb == "USER":
            stages[name] = (stages[name][0], words[0])
    return stages


def _user_of(root: Path, target: str) -> str:
    base, user = _stages(root).get(target, ("", "")) if target else ("", "")
    # A stage inherits the user of the one it begins with.
    return user or (_user_of(root, base) if base else "")


def _of_bases(root: Path) -> Iterator[str]:
    stages = _stages(root)
    for base, _user in stages.values():
        if base not in stages and base != "scratch" and not PINNED.fullmatch(base):
            yield f"Dockerfile: base `{base}` is not pinned to a version"
