"""A small tree in which every gate holds, for each test to break in one place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
INIT = '''"""A front door."""

from ._front import open_it

__all__ = ["open_it"]
'''
FRONT = '''"""Behind the door."""

from __future__ import annotations


def open_it(width_cm: int) -> int:
    """Open by so many centimetres."""
    return width_cm
'''
README = "# House\n\n| folder | out |\n|---|---|\n| [`requirements/`](x) | pins |\n| [`sdk/`](x) | spans |\n"
SDK = (
    '[build-system]\nrequires = ["setuptools>=77"]\n[project]\nname = "firstcause"\nversion = "0.1.0"\ndependencies = ["orjson>=3"]\n'
    '[project.optional-dependencies]\nweb = ["Flask[async]>=3"]\n'
)
PINS = "# pins\nflask==3.1.3\norjson==3.13.0\npip==26.3\npytest==9.2.0\nsetuptools==84.2.1\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The root of the good tree; the rules of ruff and mypy are the project's own."""
    files = {
        "README.md": README,
        "sdk/README.md": "# sdk\n",
        "requirements/README.md": "# pins\n",
        "sdk/src/firstcause/__init__.py": INIT,
        "sdk/src/firstcause/_front.py": FRONT,
        "sdk/pyproject.toml": SDK,
        "requirements/constraints.txt": PINS,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("LICENSE", "sdk/LICENSE"):
        shutil.copy(PROJECT / "LICENSE", tmp_path / name)
    tools = (PROJECT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(
        '[dependency-groups]\ntest = ["pytest"]\n' + tools[tools.index("[tool.mypy]") :]
    )
    return tmp_path
