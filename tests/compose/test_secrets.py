"""`make secrets`: random, closed, never overwritten unasked; and how a container reads them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with nothing but the script."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/secrets", tmp_path / "scripts/secrets")
    return tmp_path


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    return subprocess.run([project / "scripts/secrets", *arguments], capture_output=True, text=True, check=False)


def values(project: Path) -> dict[str, str]:
    """Every secret by its name."""
    return {path.name: path.read_text() for path in (project / "secrets").iterdir() if path.is_file()}


def test_every_secret_of_the_compose_file_is_made(project: Path) -> None:
    """Two runs in two places share nothing; each is a letter and 31 of 62 characters, so no number and nothing to quote."""
    assert 0 == make(project).returncode
    made = values(project)
    assert set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["secrets"]) == set(made)
    assert len(made) == len(set(made.values()))
    assert [] == [name for name, value in made.items() if not re.fullmatch(r"k[A-Za-z0-9]{31}", value)]
    shutil.rmtree(project / "secrets")
    make(project)
    assert set() == set(made.values()) & set(values(project).values())


def test_only_the_owner_enters(project: Path) -> None:
    """The folder is closed even under a generous umask; files in it can be read by a container's user, by nobody changed."""
    old = os.umask(0)
    try:
        make(project)
    finally:
        os.umask(old)
    assert 0o700 == (project / "secrets").stat().st_mode & 0o777
    assert {0o444} == {path.stat().st_mode & 0o777 for path in (project / "secrets").iterdir() if path.is_file()}


def test_what_exists_stays(project: Path) -> None:
    """A second run changes nothing, and says so."""
    make(project)
    before = values(project)
    assert "nothing to make" in make(project).stdout
    assert before == values(project)


def test_only_what_is_named_is_renewed(project: Path) -> None:
    """--renew makes one anew and leaves the rest."""
    make(project)
    before = values(project)
    assert 0 == make(project, "--renew", "mesh_key").returncode
    after = values(project)
    assert {"mesh_key"} == {name for name in after if after[name] != before[name]}


@pytest.mark.parametrize("arguments", [["--renew"], ["--renew", "mesh"]])
def test_a_renewal_needs_names_that_exist(project: Path, arguments: list[str]) -> None:
    """What it cannot mean it refuses, with the names there are."""
    done = make(project, *arguments)
    assert 2 == done.returncode
    assert "mesh_key" in done.stderr


def test_git_does_not_see_them() -> None:
    """The folder is ignored."""
    done = subprocess.run(["git", "check-ignore", "-q", "secrets/mesh_key"], cwd=ROOT, check=False)
    assert 0 == done.returncode


def entered(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command as a container starts it."""
    script = (ROOT / "scripts/with-secrets").read_text()
    return subprocess.run(
        ["sh", "-c", script, "with-secrets", "env"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_variable_that_is_no_mounted_secret_is_left_alone() -> None:
    """Other programs have variables that end in _FILE too."""
    assert "SSL_CERT_FILE=/etc/ssl/cert.pem" in entered({"SSL_CERT_FILE": "/etc/ssl/cert.pem"}).stdout


def test_a_secret_that_cannot_be_read_stops_the_start() -> None:
    """The message names the file and the command that makes it."""
    done = entered({"MESH_KEY_FILE": "/run/secrets/no_such_secret"})
    assert 1 == done.returncode
    assert "/run/secrets/no_such_secret cannot be read: run `make secrets`" in done.stderr
