"""Where programs come from: a Debian package, unpacked beside the system, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demo_app.programs import Program, _from_debian

PROGRAM = Program("teller", "1.0", (1, 0), debian="teller-tools")
SHOWS = "echo 'Version: 1:1.2+ds-3'"
"""What `apt-cache show` says of it."""
FAILS = "exit 100"
GIVES = "touch teller-tools.deb"
UNPACKS = 'mkdir -p "$3/usr/bin" && printf "#!/bin/sh\\n" > "$3/usr/bin/teller" && chmod +x "$3/usr/bin/teller"'


@pytest.fixture(name="debian")
def _debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of scripts in front of PATH that stand in for Debian's tools: no package may depend on the network."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def _script(folder: Path, name: str, line: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{line}\n")
    (folder / name).chmod(0o755)


def test_a_download_that_fails_leaves_nothing_and_is_tried_again(debian: Path) -> None:
    """Go is asked next, and once Debian can be reached the program comes from there."""
    for name, line in {"apt-cache": SHOWS, "apt-get": FAILS, "dpkg-deb": UNPACKS}.items():
        _script(debian, name, line)
    assert _from_debian(PROGRAM) is None
    _script(debian, "apt-get", GIVES)
    found = _from_debian(PROGRAM)
    assert found is not None
    assert "teller" == found.name
    _script(debian, "apt-get", FAILS)
    assert found == _from_debian(PROGRAM)


def test_a_package_that_is_too_old_is_not_downloaded(debian: Path) -> None:
    """What tests are made for may not be in it."""
    for name, line in {"apt-cache": "echo 'Version: 0.9'", "apt-get": 'touch "$0.was-asked"', "dpkg-deb": UNPACKS}.items():
        _script(debian, name, line)
    assert _from_debian(PROGRAM) is None
    assert not list(debian.glob("*.was-asked"))
