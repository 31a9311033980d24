"""What an outsider installs, as far as it can be told in seconds; `scripts/package` tells the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

import firstcause
from bench.imports import HEAVY, KIT, OURS, once

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "sdk" / "pyproject.toml").read_text())["project"]
BUILD = "import sys; from setuptools.build_meta import build_{0}; print(build_{0}(sys.argv[1]))"


@pytest.fixture(name="package", scope="module")
def _package() -> ModuleType:
    """The command, as a module."""
    path = str(ROOT / "scripts" / "package")
    spec = spec_from_loader("package", SourceFileLoader("package", path))
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["package"] = module  # dataclasses look their module up
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="place", scope="module")
def _place(package: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The sdist built from a copy, and the wheel built from the unpacked sdist, without any network."""
    folder = tmp_path_factory.mktemp("package")
    copy = shutil.copytree(ROOT / "sdk", folder / "sdk", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    sdist = folder / built("sdist", copy, folder)
    with tarfile.open(sdist) as packed:
        packed.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    yield package.Place(folder, folder / built("wheel", unpacked, folder), sdist)


def built(kind: str, folder: Path, into: Path) -> str:
    """The file name of what setuptools made of a folder."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind), str(into)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.split()[-1]


def test_wheel_and_sdist_hold_what_they_have_to(package: ModuleType, place: object) -> None:
    """Every file of the source and no other, the marker of types, the licence in both."""
    assert len(package.contents(place)) > 50


def test_a_wheel_that_lacks_a_file_fails(package: ModuleType, place: object, tmp_path: Path) -> None:
    """The comparison can fail: a file less, a file more."""
    wheel = tmp_path / "firstcause-0.1.0-py3-none-any.whl"
    for left_out, added in (("firstcause/py.typed", ""), ("", "firstcause/stray.txt")):
        with zipfile.ZipFile(place.wheel) as whole, zipfile.ZipFile(wheel, "w") as made:  # type: ignore[attr-defined]
            for name in whole.namelist():
                if name != left_out:
                    made.writestr(name, whole.read(name))
            if added:
                made.writestr(added, "")
        with pytest.raises(package.FailedError, match=left_out or added):
            package.contents(package.Place(tmp_path, wheel, place.sdist))  # type: ignore[attr-defined]


def test_metadata_asks_for_the_light_dependencies_only(place: object) -> None:
    """Five packages without extras; version, licence and Python as the project says."""
    with zipfile.ZipFile(place.wheel) as wheel:  # type: ignore[attr-defined]
        (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(wheel.read(name).decode())
        entries = wheel.read(name.replace("METADATA", "entry_points.txt")).decode()
    asked = {line.partition(">")[0] for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert {"opentelemetry-api", "opentelemetry-sdk", "structlog", "prometheus-client", "orjson"} == asked
    assert ("0.1.0", "Apache-2.0", ">=3.11") == tuple(metadata[k] for k in ("Version", "License-Expression", "Requires-Python"))
    assert "[pytest11]\nfirstcause = firstcause.testing.plugin" in entries


def test_the_version_is_said_once_and_the_same() -> None:
    """The module's version is the distribution's."""
    assert PROJECT["version"] == firstcause.__version__


def test_the_readme_names_every_extra() -> None:
    """What the package index shows lists all there are."""
    readme = (ROOT / "sdk" / "README.md").read_text()
    assert [] == [extra for extra in PROJECT["optional-dependencies"] if f"`{extra}`" not in readme]


def test_importing_brings_no_framework_and_no_exporter() -> None:
    """Neither `import firstcause` nor the testing kit imports what only some processes need; the list can catch one."""
    assert [] == once(OURS)[1]
    assert [] == once(KIT)[1]
    assert "httpx" in HEAVY
    assert "httpx" in once("httpx")[1]


def test_the_api_is_typed() -> None:
    """The file that uses every public name passes mypy --strict, and misuse in it is an error."""
    path = ROOT / "tests" / "typing" / "api.py"
    used = path.read_text()
    assert [] == [name for name in firstcause.__all__ if f"firstcause.{name}" not in used]
    environment = os.environ | {"MYPYPATH": str(Path(firstcause.__file__).parents[1])}
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout.replace("Success: no issues found in 1 source file\n", ""))
