"""Each gate passes on a good tree and fails on a tree with one fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from checks import compose, house, hygiene, style, tools
from checks.__main__ import GATES, main

FRONT = "sdk/src/firstcause/_front.py"
INIT = "sdk/src/firstcause/__init__.py"
LONG = "\n\ndef long() -> None:\n    " + "\n    ".join(["print()"] * 20) + "\n"
SHOUT = "from json import dumps\n"


def appended(name: str, text: str) -> Callable[[Path], None]:
    """A fault: text at the end of a file, which is made when it is missing."""

    def fault(root: Path) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + text)

    return fault


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    """A fault: other text in a file."""

    def fault(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return fault


def linked(root: Path) -> None:
    """A fault: the licence is a link, which a source distribution would leave dangling."""
    (root / "sdk/LICENSE").unlink()
    (root / "sdk/LICENSE").symlink_to("../LICENSE")


def composed(root: Path) -> None:
    """A fault: a compose file with a tag that names no version."""
    appended("docker-compose.yml", "services: {web: {image: 'nginx:latest'}}\n")(root)
    for beside in ("scripts/secrets", ".gitignore", ".env", "Dockerfile"):
        appended(beside, "")(root)


MUTANTS = [
    (style.problems, appended(FRONT, LONG * 3), "median body of 20 lines"),
    (style.problems, appended(FRONT, "\n" * 500), "lines, at most 500"),
    (style.problems, appended("bench/utils.py", '"""Things."""\n'), "bench/utils.py: `utils` says nothing"),
    (style.problems, appended("bench/common/x.py", '"""Things."""\n'), "`common` says nothing"),
    (style.problems, replaced(INIT, '["open_it"]', str([f"n{i}" for i in range(11)])), "11 public names"),
    (house.names, appended(INIT, SHOUT), "firstcause.dumps is public but not in __all__"),
    (house.names, replaced(INIT, '["open_it"]', '["open_it", "shut"]'), "shut is in __all__ but does not exist"),
    (house.names, replaced(INIT, '["open_it"]', '["open_it", "close"]'), "not sorted"),
    (house.licence, appended("sdk/LICENSE", "x"), "no copy"),
    (house.licence, linked, "no copy"),
    (house.folders, appended("console/README.md", "x"), "no row for console/"),
    (house.folders, appended("README.md", "| [`alerts/`](x) | y |\n"), "alerts/ does not exist"),
    (house.folders, lambda root: (root / "sdk/README.md").unlink(), "sdk/README.md is missing"),
    (house.pins, appended("requirements/constraints.txt", "--find-" + "links /x\n"), "is no pin"),
    (house.pins, appended("requirements/constraints.txt", "redis>=5\n"), "`redis>=5` is no pin"),
    (house.pins, replaced("requirements/constraints.txt", "flask==3.1.3\n", ""), "does not pin flask"),
    (hygiene.problems, appended("notes.txt", "https://py" + "pi.org/simple\n"), "notes.txt:1: holds the address"),
    (hygiene.problems, appended("a.txt", "\n--extra-index" + "-url http://x\n"), "a.txt:2: holds the address"),
    (hygiene.problems, appended("a.py", "HOME = '/ro" + "ot/cache'\n"), "holds a path of one machine"),
    (hygiene.problems, appended("a.py", "x = '/home/a" + "nn/x'\n"), "holds a path of one machine"),
    (hygiene.problems, appended("key", "-----BEGIN PRIVATE " + "KEY-----\n"), "holds a secret"),
    (hygiene.problems, appended("a.env", "T=ghp_" + "a1" * 18 + "\n"), "holds a secret"),
    (tools.lint, appended(FRONT, "import os\n"), "F401"),
    (tools.types, replaced(FRONT, "return width_cm", "return str(width_cm)"), "Incompatible return value"),
    (tools.types, appended(FRONT, "\n\ndef bare(x):\n    return x\n"), "missing a type annotation"),
    (tools.generated, appended("docs/__main__.py", "import sys\nprint('stale')\nsys.exit(1)\n"), "stale"),
    (tools.generated, appended("docs/__main__.py", "import sys\nsys.exit(3)\n"), "ended with status 3"),
    (tools.generated, appended("dashboards/__main__.py", "import sys\nprint('old')\nsys.exit(1)\n"), "old"),
    (compose.problems, composed, "nginx:latest"),
]


@pytest.mark.parametrize("name", GATES)
def test_a_gate_passes_on_a_tree_in_order(name: str, tree: Path) -> None:
    """A gate that complains about a good tree would only be switched off."""
    assert [] == GATES[name](tree)


@pytest.mark.parametrize(
    ("gate", "fault", "complaint"), MUTANTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_gate_fails_on_its_fault(
    gate: Callable[[Path], list[str]], fault: Callable[[Path], None], complaint: str, tree: Path
) -> None:
    """A fault is found, and said in words that name it."""
    fault(tree)
    assert complaint in "\n".join(gate(tree))


def test_every_gate_has_a_mutant() -> None:
    """A gate nobody has seen fail is no gate."""
    assert set(GATES.values()) == {gate for gate, _, _ in MUTANTS}


def test_one_failing_gate_fails_the_run(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status of `python -m checks` is that of the worst gate, and it prints the table."""
    assert 0 == main(["licence", "style"], tree)
    appended("sdk/LICENSE", "x")(tree)
    assert 1 == main(["licence", "style"], tree)
    assert "body med/p90/max" in capsys.readouterr().out


def test_an_unknown_gate_is_refused(tree: Path) -> None:
    """A misspelt name never passes for a gate that held."""
    assert 2 == main(["lisence"], tree)


def test_a_planted_stub_is_no_secret(tree: Path) -> None:
    """Tests may plant documented examples of secrets."""
    appended("t.py", 'X = "AKIA' + 'IOSFODNN7EXAMPLE"\nY = "-----BEGIN RSA PRIVATE KEY-----\\nMIIabc"\n')(tree)
    assert [] == hygiene.problems(tree)
