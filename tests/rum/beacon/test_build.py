"""What is committed is what the sources make, within its limit."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

BEACON = Path(__file__).parents[3] / "rum" / "beacon"
GENERATED = BEACON / "generated"
MOST = 8192


def npm(script: str) -> str:
    """What a script of package.json prints; it must succeed."""
    if shutil.which("npm") is None:
        pytest.skip("no node: apt-get install nodejs npm")
    if not (BEACON / "node_modules" / "esbuild").exists():
        pytest.skip("no packages: cd rum/beacon && npm ci")
    done = subprocess.run(["npm", "run", "--silent", script], cwd=BEACON, capture_output=True, text=True, timeout=240)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_the_committed_files_are_fresh() -> None:
    """The sources are sound, and a build in memory equals generated/ byte for byte."""
    npm("check")


def test_the_whole_is_small() -> None:
    """The script with everything in it stays below its limit, and the table of features adds up to it."""
    lines = npm("size").splitlines()
    costs = [int(line.split()[-1]) for line in lines]
    assert sum(costs[:-1]) == costs[-1] <= MOST


@pytest.mark.parametrize("name", ["fc.js", "index.mjs"])
def test_sizes_and_hashes_are_published(name: str) -> None:
    """sizes.json holds the true size and the hash for `integrity`."""
    content = (GENERATED / name).read_bytes()
    told = json.loads((GENERATED / "sizes.json").read_text())[name]
    assert len(content) == told["bytes"]
    assert f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}" == told["integrity"]
    assert told["gzip"] <= MOST
    # Another zlib may differ by a few bytes.
    assert len(gzip.compress(content, 9, mtime=0)) == pytest.approx(told["gzip"], abs=64)


def test_no_word_that_blockers_match() -> None:
    """Neither the file's name nor the default path holds a word of the blockers' lists."""
    script = (GENERATED / "fc.js").read_text()
    assert '"/_fc"' in script
    assert not [word for word in ("beacon", "rum", "collect", "analytics", "telemetry") if word in "/_fc fc.js"]


def test_versions_are_exact_and_without_addresses() -> None:
    """Every package is pinned, by number and by hash; where it came from is not said."""
    package = json.loads((BEACON / "package.json").read_text())
    lock = json.loads((BEACON / "package-lock.json").read_text())
    assert all(version[0].isdigit() for version in package["devDependencies"].values())
    packages = {path: entry for path, entry in lock["packages"].items() if path}
    assert all("integrity" in entry and "resolved" not in entry for entry in packages.values())
    assert "http" not in (BEACON / "package-lock.json").read_text()
