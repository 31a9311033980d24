"""What no file of the project may hold: addresses of registries, paths of one machine, secrets."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Brackets and escapes keep these patterns from matching the file that holds them.
FORBIDDEN = {
    "the address of a registry": re.compile(
        r"py[p]i\.(?:org|python)|python[h]osted\.org|registry\.npm[j]s|--(?:extra-)?index-ur[l]|--find-link[s]"
        r"|--trusted-hos[t]|proxy\.golan[g]|artifactor[y]|/simpl[e]/"
    ),
    "a path of one machine": re.compile(
        r"(?<![\w.])/(?:ro[o]t|wor[k]|far[m]|home/[a-z]\w*|opt/wheel[s]|User[s]/\w+)/[\w.]|/tmp/(?:brie[f]|bash_job[s])"
    ),
    "a secret": re.compile(
        # A key's own line, or key material right after it: a test's planted stub is neither.
        r"^\s*-----BEGIN [A-Z ]*PRIVATE KE[Y]-----\s*$"
        r"|PRIVATE KE[Y]-----\\n[\w+/]{40}|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bAKIA(?!\w*EXAMPLE)[0-9A-Z]{16}\b"
        r"|\bxox[bap]-\d{8,}-\w+|\bsk-[A-Za-z0-9]{40,}"
    ),
}


def problems(root: Path) -> list[str]:
    """Every forbidden thing, with file and line. The finding is not repeated: it may be a secret."""
    return [problem for path in files(root) for problem in _of_file(root, path)]


def files(root: Path) -> list[Path]:
    """What is tracked or about to be; without git, everything outside hidden folders."""
    # Without -z git quotes names that are not ASCII.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    # Inside another repository git answers as well, by that one's rules of what to ignore.
    inside = (root / ".git").exists() and done.returncode == 0
    names = done.stdout.split("\0") if inside else [str(path.relative_to(root)) for path in root.rglob("*")]
    kept = (root / name for name in names if name and (inside or not name.startswith(".")))
    return sorted(path for path in kept if path.is_file() and "__pycache__" not in path.parts)


def _of_file(root: Path, path: Path) -> Iterator[str]:
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        return  # an image or the like
    for number, line in enumerate(lines, 1):
        for what, pattern in FORBIDDEN.items():
            if pattern.search(line):
                yield f"{path.relative_to(root)}:{number}: holds {what}"
