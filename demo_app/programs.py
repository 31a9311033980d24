"""Programs that are no Python packages: where each is found, and how it is made where it is not.

Looked for on PATH, in the project's cache (`$XDG_CACHE_HOME/firstcause`, outside the checkout), as a Debian
package unpacked into the cache without installing it, and last built by Go from a module of ours that pins it;
the Collector by its own builder (OCB) from `collector-config/builder-config.yaml`.
`python -m demo_app.programs prometheus promtool` gets them ready and prints their paths.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BUILD_S = 1800
"""Prometheus, Loki and the Collector take four to five minutes each on two idle cores."""
MANIFEST = Path(__file__).resolve().parent.parent / "collector-config" / "builder-config.yaml"


class ProgramMissingError(RuntimeError):
    """A program is nowhere; the message names every way to have it."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program, and the version that tests and benches are made for."""

    name: str
    version: str
    oldest: tuple[int, ...]
    """An older one on PATH or in Debian is passed over."""
    package: str = ""
    """What Go builds."""
    module: str = ""
    """Folder under `go/` whose `go.mod` pins it."""
    manifest: Path | None = None
    """What OCB builds instead; part of the name in the cache."""
    debian: str = ""
    ask: str = "--version"
    says: str = r'ersion[":, ]*v?(\d[\d.]*)'
    """Where the answer names the version."""
    tags: str = "netgo"
    flags: str = ""

    @property
    def stamp(self) -> str:
        """Version, and what else it was made from."""
        made = f"-{hashlib.sha256(self.manifest.read_bytes()).hexdigest()[:8]}" if self.manifest else ""
        return f"{self.version}{made}"


def _of_prometheus(name: str, version: str) -> Program:
    # Its releases are told their version like this; without it a build answers `--version` with none.
    stamp = f"-s -w -X github.com/prometheus/common/version.Version={version}"
    package = f"github.com/prometheus/prometheus/cmd/{name}"
    return Program(name, version, (3, 8), package, "prometheus", debian="prometheus", flags=stamp)


def _of_alertmanager(name: str, version: str) -> Program:
    stamp = f"-s -w -X github.com/prometheus/common/version.Version={version}"
    # Debian calls the server `prometheus-alertmanager`, and its template is where no other distribution looks.
    package = f"github.com/prometheus/alertmanager/cmd/{name}"
    return Program(name, version, (0, 25), package, "alertmanager", flags=stamp)


def _told(
    name: str, version: str, oldest: tuple[int, ...], package: str, variable: str, ask: str = "version"
) -> Program:
    """One that is told its version by a variable of its module."""
    stamp = f"-s -w -X {package.partition('/cmd')[0]}/{variable}{version}"
    return Program(name, version, oldest, package, name.removeprefix("docker-"), ask=ask, flags=stamp)


PROGRAMS = {
    program.name: program
    for program in (
        _of_prometheus("prometheus", "3.16.0"),  # its Go module calls this v0.316.0
        _of_prometheus("promtool", "3.16.0"),
        _of_alertmanager("alertmanager", "0.31.1"),  # newer tags lack the files of the UI
        _of_alertmanager("amtool", "0.31.1"),
        _told("ocb", "0.145.0", (0, 145), "go.opentelemetry.io/collector/cmd/builder", "cmd/builder/internal.version="),
        Program("firstcause-collector", "0.145.0", (0, 145), manifest=MANIFEST),
        # The last whose Go module resolves; the compose file takes the image that came next.
        _told("jaeger", "1.62.0", (1, 62), "github.com/jaegertracing/jaeger/cmd/jaeger", "pkg/version.latestVersion=v"),
        _told("loki", "3.7.8", (3, 7), "github.com/grafana/loki/v3/cmd/loki", "pkg/util/build.Version=", "--version"),
        _told("docker-compose", "2.40.3", (2, 30), "github.com/docker/compose/v2/cmd", "internal.Version=v"),
    )
}


def find(name: str, *, build: bool = True) -> Path:
    """The program's path; makes it when `build`. Raises `ProgramMissingError`."""
    program = PROGRAMS[name]
    for look in (_on_path, _cached, _from_debian, *([_built] if build else [])):
        found = look(program)
        if found is not None:
            return found
    raise ProgramMissingError(_ways(program))


def _ways(program: Program) -> str:
    oldest = ".".join(map(str, program.oldest))
    have = (
        "It is a build of ours:"
        if program.manifest
        else "Put it on PATH (from its release files or your package manager), or"
    )
    return (
        f"{program.name} {oldest} or newer is missing. {have} copy it to {_place(program)}, or install Go and run "
        f"`python -m demo_app.programs {program.name}` once"
    )


def cache() -> Path:
    """Where built programs are kept, outside the checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "firstcause" / "programs"


def _place(program: Program) -> Path:
    return cache() / f"{program.name}-{program.stamp}" / program.name


def _on_path(program: Program) -> Path | None:
    found = shutil.which(program.name)
    if found is None:
        return None
    done = subprocess.run([found, program.ask], capture_output=True, text=True, timeout=20, check=False)
    said = re.search(program.says, done.stdout + done.stderr)
    return Path(found) if said and version_of(said[1]) >= program.oldest else None


def version_of(text: str) -> tuple[int, ...]:
    """The numbers a version begins with: `2.42.0+ds-5` is (2, 42, 0)."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def _cached(program: Program) -> Path | None:
    place = _place(program)
    return place if os.access(place, os.X_OK) else None


def _from_debian(program: Program) -> Path | None:
    if not program.debian or not shutil.which("apt-cache") or not shutil.which("dpkg-deb"):
        return None
    shown = subprocess.run(["apt-cache", "show", program.debian], capture_output=True, text=True, check=False).stdout
    offered = re.search(r"^Version: (?:\d+:)?(\S+)", shown, re.MULTILINE)
    if offered is None or version_of(offered[1]) < program.oldest:
        return None
    folder = cache() / f"debian-{program.debian}-{offered[1]}"
    with _alone(program):
        found = _inside(folder, program.name)
        if found is None and _unpacked(program.debian, folder):
            found = _inside(folder, program.name)
    return found


def _inside(folder: Path, name: str) -> Path | None:
    return next((path for path in folder.glob(f"usr/*bin/{name}") if os.access(path, os.X_OK)), None)


def _unpacked(package: str, folder: Path) -> bool:
    """Download a package and unpack it; False when it cannot be had, which is nobody's failure: Go is asked next."""
    # Aside first: what a download that broke off leaves behind would be taken for the whole.
    with tempfile.TemporaryDirectory(dir=cache()) as aside:
        half = Path(aside) / "whole"
        half.mkdir()
        if subprocess.run(["apt-get", "download", package], cwd=half, check=False, capture_output=True).returncode:
            return False
        for archive in half.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, half], check=True)
        # Two programs may be of one package, and each has a lock of its own.
        shutil.copytree(half, folder, symlinks=True, dirs_exist_ok=True)
    return True


def _built(program: Program) -> Path | None:
    if not shutil.which("go"):
        return None
    place = _place(program)
    with _alone(program):
        if not place.exists():
            print(f"building {program.name} {program.version} with Go, once; this takes minutes", file=sys.stderr)
            half = place.with_suffix(".half")
            try:
                done = _by_ocb(program, half) if program.manifest else _by_go(program, half)
            except subprocess.TimeoutExpired as late:
                raise ProgramMissingError(f"{_ways(program)}. Go was not done in {late.timeout:.0f} s") from late
            if done.returncode:
                raise ProgramMissingError(f"{_ways(program)}. Go said: {done.stderr[-1500:]}")
            half.rename(place)  # an interrupted build leaves nothing that looks ready
    return place


def _by_go(program: Program, target: Path) -> subprocess.CompletedProcess[str]:
    command = ["go", "build", "-trimpath", "-tags", program.tags, "-ldflags", program.flags, "-o", str(target)]
    return subprocess.run(
        [*command, program.package], cwd=Path(__file__).parent / "go" / program.module,
        capture_output=True, text=True, timeout=BUILD_S, check=False,
    )  # fmt: skip


def _by_ocb(program: Program, target: Path) -> subprocess.CompletedProcess[str]:
    # Beside the target: a rename does not cross file systems, and /tmp often is one of its own.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [str(find("ocb")), "--config", str(program.manifest), "--output-path", folder, "--ldflags", "-s -w"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
        if done.returncode == 0:
            (Path(folder) / program.name).rename(target)
        return done


@contextmanager
def _alone(program: Program) -> Iterator[None]:
    """One at a time: two runs that both need a program build it once."""
    place = _place(program).parent
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it however the process ends
        yield


def main(wanted: list[str]) -> int:
    """Get programs ready, all there are when none is named, and print their paths; 1 when one is missing."""
    missing = 0
    for name in wanted or PROGRAMS:
        try:
            print(find(name), flush=True)
        except ProgramMissingError as error:
            print(error, file=sys.stderr)
            missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
