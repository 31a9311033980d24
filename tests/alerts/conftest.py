"""The real programs, new and old, and the shop's objectives."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from demo_app.programs import ProgramMissingError, cache, find
from firstcause_alerts import load, output

ROOT = Path(__file__).resolve().parent.parent.parent
SLOS = ROOT / "alerts" / "slos.yml"
OLDEST = {
    "prometheus": ("prometheus", "2.42"), "promtool": ("prometheus", "2.42"),
    "alertmanager": ("prometheus-alertmanager", "0.25"), "amtool": ("prometheus-alertmanager", "0.25"),
}  # fmt: skip
"""Debian 12's package of each, and the version in it: the oldest that we promise to work with."""


def program(name: str) -> Path:
    """The program's path, built where it is missing; skips with the ways to have it."""
    try:
        return find(name)
    except ProgramMissingError as missing:
        pytest.skip(str(missing))


def oldest(name: str) -> Path:
    """The oldest supported one, from Debian's package, unpacked without installing it; skips with the way to have it."""
    package, version = OLDEST[name]
    folder = cache() / f"debian-{package}-{version}"
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        _unpacked(package, version, folder)
    found = [path for path in (folder / "usr" / "bin").glob("*") if path.name in (name, f"prometheus-{name}")]
    if not found:
        pytest.skip(
            f"{name} {version} is missing: on Debian 12 run `apt-get update`, elsewhere put it into {folder}/usr/bin"
        )
    return found[0]


def _unpacked(package: str, version: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "usr").is_dir():
            return
        subprocess.run(["apt-get", "download", f"{package}={version}*"], cwd=folder, capture_output=True, check=False)
        for file in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", file, folder], check=True)


@pytest.fixture(scope="session")
def promtool() -> Path:
    return program("promtool")


@pytest.fixture(scope="session")
def amtool() -> Path:
    return program("amtool")


@pytest.fixture(scope="session")
def servers() -> dict[str, Path]:
    return {name: program(name) for name in ("prometheus", "alertmanager", "promtool")}


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's files as the source renders them now; whether the committed ones are the same is another test."""
    folder = tmp_path_factory.mktemp("alerts") / "generated"
    output.write(output.render(load(SLOS.read_text())), folder)
    return folder
