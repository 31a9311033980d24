"""The gates that other programs decide: ruff, mypy, and the generators' own checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TYPED = ("sdk/src", "rum/src", "alerts/src", "demo_app", "bench", "checks", "docs", "dashboards")


def lint(root: Path) -> list[str]:
    """Ruff over everything, with the reasons for what is ignored in pyproject.toml."""
    return complaints(root, "ruff", "check", "--quiet", "--output-format", "concise", ".")


def types(root: Path) -> list[str]:
    """`mypy --strict` over what is ours to use; tests are checked by running."""
    # mypy fails on a folder without Python files.
    present = [name for name in TYPED if any((root / name).rglob("*.py"))]
    return complaints(root, "mypy", "--strict", "--no-error-summary", *present)


def generated(root: Path) -> list[str]:
    """Committed generated files equal what their generator makes now."""
    makers = [name for name in ("docs", "dashboards") if (root / name / "__main__.py").exists()]
    return [line for name in makers for line in complaints(root, name, "--check")]


def complaints(root: Path, module: str, *arguments: str) -> list[str]:
    """The lines of `python -m module …` when it fails; a failure without a line is one too."""
    # What is checked is this tree, not packages of it that happen to be installed.
    path = os.pathsep.join(str(root / part) for part in ("sdk/src", "rum/src", "alerts/src", "."))
    environment = os.environ | {"PYTHONPATH": path, "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # programs differ in where they complain
        text=True,
    )
    if done.returncode == 0:
        return []
    return done.stdout.strip().splitlines() or [f"{module} ended with status {done.returncode}"]
