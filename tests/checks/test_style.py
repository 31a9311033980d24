"""What the style table counts."""

from __future__ import annotations

import ast
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from checks.style import body_lines, read, table

SOURCE = '''"""Module."""
# why
def told(a: int) -> int:
    """Says.

    More.
    """
    b = a  # because

    return b


def _own(a):
    return (
        a
    )


class Silent:
    async def loud(self) -> None: ...
'''


def test_a_module_is_counted_as_a_reader_would(tmp_path: Path) -> None:
    """Bodies without docstrings, comments, annotated returns, and what is public."""
    path = tmp_path / "one.py"
    path.write_text(SOURCE)
    module = read(path)
    assert 20 == module.lines
    assert [1, 3, 3] == sorted(module.bodies)
    assert [False, True, True] == sorted(module.returns)
    assert [True, True, False, False] == module.documented
    assert 2 == module.comments


@given(st.integers(1, 60), st.integers(0, 5))
def test_a_body_is_measured_without_its_docstring(lines: int, docstring: int) -> None:
    """However long a docstring is, it never makes a function long."""
    said = '    """' + "x\n" * docstring + '"""\n' if docstring else ""
    tree = ast.parse("def f():\n" + said + "    pass\n" * lines)
    assert isinstance(tree.body[0], ast.FunctionDef)
    assert lines == body_lines(tree.body[0])


def test_the_table_has_a_row_per_package(tree: Path) -> None:
    """A package that does not exist is left out; the front door's names are counted."""
    rows = table(tree).splitlines()
    assert 2 == len(rows)
    assert ["sdk/src/firstcause", "2", "6/8", "1/1/1", "0", "%", "100", "%", "100", "%", "0.0", "1"] == rows[1].split()
