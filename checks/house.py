"""The house in order: licence, README table, front door, pins."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from .hygiene import files
from .style import exported

PIN = re.compile(r"[a-z0-9-]+==[0-9][\w.!+]*")


def licence(root: Path) -> list[str]:
    """Each package ships its own copy, since a link would leave the wheel without one; it is equal."""
    ours, found = (root / "LICENSE").read_bytes(), list[str]()
    for package in packages(root):
        shipped, name = package / "LICENSE", f"{package.name}/LICENSE"
        if shipped.is_symlink() or not shipped.exists() or ours != shipped.read_bytes():
            found.append(f"{name} is no copy of LICENSE: cp LICENSE {name}")
    return found


def packages(root: Path) -> list[Path]:
    """The folders that are packages of ours."""
    return sorted(path.parent for path in root.glob("*/pyproject.toml"))


def folders(root: Path) -> list[str]:
    """The README's table names exactly the folders there are, and each says in a README what it is."""
    named = set(re.findall(r"^\| \[?`([\w-]+)/`", (root / "README.md").read_text(), re.MULTILINE))
    relative = [path.relative_to(root) for path in files(root)]
    there = {path.parts[0] for path in relative if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    found = [f"README.md: the table has no row for {name}/" for name in sorted(there - named)]
    found += [f"README.md: {name}/ does not exist" for name in sorted(named - there)]
    return found + [f"{name}/README.md is missing" for name in sorted(there) if Path(name, "README.md") not in relative]


def names(root: Path) -> list[str]:
    """The front door: a sorted `__all__` that holds every public name the module has."""
    tree = ast.parse((root / "sdk/src/firstcause/__init__.py").read_text())
    listed, there = exported(tree), public_names(tree)
    found = [] if listed == sorted(listed) else ["firstcause.__all__ is not sorted"]
    found += [f"firstcause.{name} is public but not in __all__" for name in sorted(there - set(listed))]
    return found + [f"firstcause.{name} is in __all__ but does not exist" for name in sorted(set(listed) - there)]


def public_names(tree: ast.Module) -> set[str]:
    """What a user sees on the module: names imported, defined or assigned without an underscore."""
    bound: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign):
            bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in bound if not name.startswith("_")}


def pins(root: Path) -> list[str]:
    """The constraints are pins and nothing else, and pin everything we ask for by name."""
    lines = (root / "requirements" / "constraints.txt").read_text().splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    found = [f"constraints.txt: `{line}` is no pin" for line in entries if not PIN.fullmatch(line)]
    pinned = {line.partition("==")[0] for line in entries}
    return found + [f"constraints.txt does not pin {name}" for name in sorted(asked(root) - pinned)]


def asked(root: Path) -> set[str]:
    """The packages named in all pyproject files, in normal form; those of ours are no pins."""
    house = tomllib.loads((root / "pyproject.toml").read_text())
    lists = [*house["dependency-groups"].values(), ["pip"]]  # scripts/setup installs pip by the same pins
    for package in packages(root):
        made = tomllib.loads((package / "pyproject.toml").read_text())
        project = made["project"]
        lists += [*project.get("optional-dependencies", {}).values(), project.get("dependencies", [])]
        lists.append(made["build-system"]["requires"])
    # Normal form (PEP 503), since indexes and tools spell names as they like.
    named = {re.split(r"[\[<>=!~; ]", entry)[0].lower().replace("_", "-") for group in lists for entry in group}
    return {name for name in named if not name.startswith("firstcause")}
