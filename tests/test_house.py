"""The project as a newcomer or a new machine meets it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from checks import house

ROOT = Path(__file__).parent.parent
VERBS = re.findall(r"^([a-z0-9]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, without a terminal."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_make_alone_lists_every_verb() -> None:
    """At most ten verbs, each with its sentence."""
    shown = run("make").stdout
    assert 10 >= len(VERBS)
    assert [] == [verb for verb in VERBS if not re.search(rf"^  make {verb} +\S", shown, re.MULTILINE)]
    assert sorted(VERBS) == sorted(
        re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    )


@pytest.mark.parametrize("script", [".ci/run", "scripts/setup", "scripts/e2e", "scripts/lock", "scripts/package"])
def test_a_script_can_be_run_as_it_is(script: str) -> None:
    """Executable, and its own shell or Python can read it."""
    path = ROOT / script
    assert os.access(path, os.X_OK)
    first, _, text = path.read_text().partition("\n")
    if first.endswith("python3"):
        compile(text, script, "exec")
    else:
        assert (0, "") == ((done := run(first.split()[-1].removeprefix("#!"), "-n", script)).returncode, done.stderr)


def test_ci_runs_what_a_newcomer_runs() -> None:
    """The gate of a merge is made of the verbs of the Makefile."""
    text = (ROOT / ".ci" / "run").read_text()
    assert "for verb in test check e2e" in text
    assert "set -euo pipefail" in text


def test_missing_end_to_end_tests_are_said_and_unselected_ones_fail(tmp_path: Path) -> None:
    """An empty folder passes with a word; a folder whose tests do not run is a failure."""
    for name in ("scripts", "tests/e2e", ".venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "scripts/e2e").write_text((ROOT / "scripts/e2e").read_text())
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = e2e: x\n")
    none = run("sh", "scripts/e2e", cwd=tmp_path)
    assert (0, "e2e: no end-to-end tests yet\n") == (none.returncode, none.stdout)
    (tmp_path / "tests/e2e/test_shop.py").write_text("def test_shop(): assert True\n")
    assert 5 == run("sh", "scripts/e2e", cwd=tmp_path, PYTHONPATH=os.pathsep.join(sys.path)).returncode


def test_set_up_names_what_is_missing(tmp_path: Path) -> None:
    """Without a Python that is new enough, and without the right to install one, it says what to type."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/setup").write_text((ROOT / "scripts/setup").read_text())
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "cat", "env"):
        (tools / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    (tools / "id").chmod(0o755)
    done = run("/bin/sh", "scripts/setup", cwd=tmp_path, PATH=str(tools), PYTHON="")
    assert 1 == done.returncode
    assert "sudo apt-get install python3 python3-venv" in done.stderr


def test_constraints_pin_everything_asked_for() -> None:
    """A new machine installs what this one tested."""
    assert [] == house.pins(ROOT)


def test_a_wheel_holds_licence_and_types(tmp_path: Path) -> None:
    """What an outsider installs has the licence, the marker of types, and nothing else at its top."""
    copy = tmp_path / "sdk"
    (copy / "src/firstcause").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "src/firstcause/__init__.py", "src/firstcause/py.typed"):
        (copy / name).write_bytes((ROOT / "sdk" / name).read_bytes())
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('..'))"
    built = run(sys.executable, "-c", build, cwd=copy)
    assert 0 == built.returncode, built.stderr
    names = zipfile.ZipFile(tmp_path / built.stdout.split()[-1]).namelist()
    assert {"firstcause", "firstcause-0.1.0.dist-info"} == {name.split("/")[0] for name in names}
    assert {"firstcause/py.typed", "firstcause-0.1.0.dist-info/licenses/LICENSE"} <= set(names)
