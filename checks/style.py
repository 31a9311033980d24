"""How readable the code is, as far as a machine can tell: sizes, docstrings, types, comments.

The figures are those of the projects we compare ourselves with: in each of them the median function
body has 4 to 8 lines and about 3 % exceed 40. A body is counted without its docstring.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

PACKAGES = (
    "sdk/src/firstcause", "rum/src/firstcause_rum", "alerts/src/firstcause_alerts", "demo_app", "bench", "checks",
    "docs", "dashboards",
)  # fmt: skip
MEDIAN_BODY = 8
MODULE_LINES = 500
LONG_BODY = 40
FRONT_DOOR = 10
VAGUE = ("utils", "helpers", "common", "manager", "util", "helper", "managers")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef | ast.Module


@dataclass(frozen=True, slots=True)
class Module:
    """What is measured of one file."""

    path: Path
    lines: int
    bodies: list[int]
    returns: list[bool]
    documented: list[bool]
    comments: int
    public: int


@dataclass(frozen=True, slots=True)
class Package:
    """What is measured of one package."""

    name: str
    modules: list[Module]

    @property
    def lines(self) -> list[int]:
        """Lines of each module."""
        return [module.lines for module in self.modules]

    @property
    def bodies(self) -> list[int]:
        """Lines of each function body; 0 stands for a package without functions."""
        return [body for module in self.modules for body in module.bodies] or [0]


def read(path: Path) -> Module:
    """Measure one file."""
    text = path.read_text()
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    return Module(
        path=path,
        lines=text.count("\n"),
        bodies=[body_lines(function) for function in functions],
        returns=[function.returns is not None for function in functions],
        documented=[ast.get_docstring(node) is not None for node in public(tree)],
        comments=sum(comments(text)),
        public=len(exported(tree)),
    )


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def public(tree: ast.Module) -> Iterator[Documented]:
    """The module, and the functions, classes and methods a reader may use."""
    yield tree
    for node in tree.body:
        yield from _public(node)


def _public(node: ast.stmt) -> Iterator[Documented]:
    if not isinstance(node, Documented) or node.name.startswith("_"):
        return
    yield node
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            yield from _public(inner)


def comments(text: str) -> Iterator[bool]:
    """One True per comment of a file."""
    # By tokens: a # inside a string is no comment.
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield True


def exported(tree: ast.Module) -> list[str]:
    """The names of a literal `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def packages(root: Path) -> list[Package]:
    """Measure every package that exists."""
    found = ((name, sorted((root / name).rglob("*.py"))) for name in PACKAGES)
    return [Package(name, [read(path) for path in paths]) for name, paths in found if paths]


def table(root: Path) -> str:
    """One line per package, as the comparison of projects prints it."""
    head = (
        "package",
        "modules",
        "lines med/max",
        "body med/p90/max",
        "> 40",
        "docstrings",
        "returns",
        "comments/100",
        "public",
    )
    rows = [head, *(row(package) for package in packages(root))]
    widths = [max(len(line[column]) for line in rows) for column in range(len(head))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in rows)


def row(package: Package) -> tuple[str, ...]:
    """The cells of one package."""
    bodies, lines, modules = package.bodies, package.lines, package.modules
    # "inclusive" stays within what there is: the default reaches beyond the longest of a few bodies.
    top = quantiles(bodies, n=10, method="inclusive")[-1] if len(bodies) > 1 else bodies[0]
    front = next(
        (
            module.public
            for module in modules
            if module.path.parent.name == Path(package.name).name and module.path.name == "__init__.py"
        ),
        0,
    )
    return (
        package.name,
        str(len(modules)),
        f"{median(lines):.0f}/{max(lines)}",
        f"{median(bodies):.0f}/{top:.0f}/{max(bodies)}",
        percent(body > LONG_BODY for body in bodies),
        percent(one for module in modules for one in module.documented),
        percent(one for module in modules for one in module.returns),
        f"{100 * sum(module.comments for module in modules) / max(1, sum(lines)):.1f}",
        str(front) if front else "-",
    )


def percent(flags: Iterable[bool]) -> str:
    """The share of true ones."""
    known = list(flags)
    return f"{100 * sum(known) / len(known):.0f} %" if known else "-"


def problems(root: Path) -> list[str]:
    """What is over its limit."""
    found = []
    for package in packages(root):
        if median(package.bodies) > MEDIAN_BODY:
            found.append(f"{package.name}: median body of {median(package.bodies):g} lines, at most {MEDIAN_BODY}")
        found += [line for module in package.modules for line in _of_module(root, module)]
    front = root / PACKAGES[0] / "__init__.py"
    if front.exists() and read(front).public > FRONT_DOOR:
        found.append(f"{PACKAGES[0]}: {read(front).public} public names, at most {FRONT_DOOR}")
    return found


def _of_module(root: Path, module: Module) -> Iterator[str]:
    name = module.path.relative_to(root)
    if module.lines > MODULE_LINES:
        yield f"{name}: {module.lines} lines, at most {MODULE_LINES}"
    vague = [part for part in (*name.parts[:-1], module.path.stem) if part.strip("_") in VAGUE]
    if vague:
        yield f"{name}: `{vague[0]}` says nothing; name it after what it knows"
