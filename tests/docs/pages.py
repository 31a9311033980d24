"""Runs a page of the docs: its Python in one process, then each shell block with the files that the page names.

A Python block that begins with `# name.py` is that file. A block of shell is run as a reader would: servers in the
background until the block ends, `curl` asked of them, everything else to its end. A `text` block after it is what it
prints, where numbers may differ and `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import firstcause
from demo_app.parts import free_port

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SDK = Path(firstcause.__file__).parents[1]
PORT = "8000"
SERVERS = {"uvicorn", "flask", "gunicorn", "huey_consumer"}
READY = re.compile(r"running on|Running on|Listening at|Huey consumer started|consumer initialized", re.IGNORECASE)
WAIT_S = 60.0
_BLOCK = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# ([\w.]+\.py)\n")
_EXTRA = re.compile(r"firstcause\[([\w,-]+)\]")
_MARKS = re.compile(r"(…)|[0-9a-f]{32}|\d[\d.]*")
_PLUGINS = ("firstcause.testing.plugin", "pytest_asyncio.plugin", "anyio.pytest_plugin")


@dataclass
class Block:
    """One fenced block: its language, the word after it, its text, and where it begins."""

    kind: str
    word: str
    text: str
    line: int


@dataclass
class Page:
    """One page, with a folder to run it in."""

    path: Path
    folder: Path
    output: list[str] = field(default_factory=list)
    """What each shell block printed."""

    def blocks(self) -> Iterator[Block]:
        """All fenced blocks, in order."""
        text = self.path.read_text("utf-8")
        for found in _BLOCK.finditer(text):
            yield Block(found[1], found[2] or "", found[3], text[: found.start()].count("\n") + 2)

    def run(self) -> None:
        """Run every block; raises AssertionError for the first that does not do what the page says."""
        python = [block for block in self.blocks() if block.kind == "python"]
        for block in python:
            name = _FILE.match(block.text)
            if name:
                (self.folder / name[1]).write_text(block.text, "utf-8")
        self._python(python)
        for block in self.blocks():
            if block.kind == "sh":
                self.output.append(Shell(self.folder).run(block))
            elif block.kind == "text":
                self._printed(block, self.output[-1])

    def _python(self, blocks: list[Block]) -> None:
        """All Python of the page in one process and one namespace, each line under its own number."""
        script = self.folder / "run_page.py"
        parts = [(_module(block), "\n" * (block.line - 1) + block.text) for block in blocks]
        script.write_text(_RUN.format(parts=parts, page=self.path.name), "utf-8")
        done = subprocess.run(
            [sys.executable, str(script)], cwd=self.folder, env=environment(self.folder), capture_output=True, text=True,
            timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, f"{self.path.name}: {done.stderr}"

    def _printed(self, block: Block, output: str) -> None:
        for line in filter(None, block.text.splitlines()):
            assert any(pattern(line).fullmatch(there.rstrip()) for there in output.splitlines()), f"{line}\nnot in\n{output}"


def _module(block: Block) -> str:
    name = _FILE.match(block.text)
    return name[1].removesuffix(".py") if name else ""


_RUN = """
import importlib
space = {{"__name__": "__page__"}}
for module, text in {parts!r}:
    if module and not module.startswith("test_"):
        space.update(vars(importlib.import_module(module)))
    elif not module:
        exec(compile(text, {page!r}, "exec"), space)
"""


def pattern(line: str) -> re.Pattern[str]:
    """A line of a page as what may be printed: any number, any id, anything for `…`."""
    parts, place = [], 0
    for found in _MARKS.finditer(line):
        parts += [re.escape(line[place : found.start()]), ".*" if found[1] else r"[0-9a-f][0-9a-f.]*"]
        place = found.end()
    written = "".join([*parts, re.escape(line[place:])])
    return re.compile(re.sub(r"(\\ )+", r" +", written))


def environment(folder: Path) -> dict[str, str]:
    """Settings of this process's own are left out; programs of this interpreter come first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "FIRSTCAUSE_", "PYTEST_"))}
    return {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join([str(folder), str(SDK)]),
        "PYTHONUNBUFFERED": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": ",".join(_PLUGINS),
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }


class Shell:
    """One block of shell; gathers what its programs print."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, str(free_port())
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._servers: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []

    def run(self, block: Block) -> str:
        """Run its lines; the status of each is 0, or in a block that is to fail, not 0."""
        try:
            for line in block.text.replace(PORT, self._port).splitlines():
                self._line(line, fails=block.word == "fails")
        finally:
            self._stop()
        return "".join(self._lines).replace(self._port, PORT)

    def _line(self, line: str, *, fails: bool) -> None:
        words = shlex.split(line)
        settings = dict(w.split("=", 1) for w in words if re.match(r"[A-Z_]+=", w))
        command = [w for w in words if not re.match(r"[A-Z_]+=", w)]
        if command[0] == "pip":
            self._installable(line)
        elif command[0] == "curl":
            self._ask(command)
        elif command[0] in SERVERS or command[:2] == ["firstcause", "run"]:
            self._serve(command, settings)
        else:
            self._finish(command, settings, fails=fails)

    @staticmethod
    def _installable(line: str) -> None:
        """Nothing is installed here: the extras exist, and no other package is asked for than we have."""
        project = tomllib.loads((ROOT / "sdk" / "pyproject.toml").read_text())["project"]
        wanted = {extra for found in _EXTRA.findall(line) for extra in found.split(",")}
        assert wanted <= set(project["optional-dependencies"]), line
        assert wanted or "opentelemetry-api" in line, line

    def _serve(self, command: list[str], settings: dict[str, str]) -> None:
        server = self._start(command, settings)
        self._servers.append(server)
        reader = threading.Thread(target=self._read, args=(server,), daemon=True)
        self._readers.append(reader)
        reader.start()
        self.await_line(READY)

    def _start(self, command: list[str], settings: dict[str, str]) -> subprocess.Popen[str]:
        if command[0] == "firstcause":
            command = [sys.executable, "-m", *command]
        elif command[0] in ("python", "pytest"):
            command = [sys.executable, *(["-m", "pytest"] if command[0] == "pytest" else []), *command[1:]]
        return subprocess.Popen(
            command, cwd=self._folder, env=environment(self._folder) | settings, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def _read(self, server: subprocess.Popen[str]) -> None:
        assert server.stdout is not None
        for line in server.stdout:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()

    def await_line(self, wanted: re.Pattern[str]) -> None:
        """Wait until a line says so."""
        with self._said:
            found = self._said.wait_for(lambda: any(wanted.search(line) for line in self._lines), WAIT_S)
        assert found, f"never said {wanted.pattern}: {''.join(self._lines)}"

    def _ask(self, command: list[str]) -> None:
        """What `curl -i` would print."""
        method = command[command.index("-X") + 1] if "-X" in command else "GET"
        request = urllib.request.Request(command[-1], method=method)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                self._answered(answer)
        except urllib.error.HTTPError as answer:
            self._answered(answer)

    def _answered(self, answer: object) -> None:
        headers = [f"{name}: {value}\n" for name, value in answer.headers.items()]  # type: ignore[attr-defined]
        self._lines += headers
        identity = next(line.partition(": ")[2].strip() for line in headers if line.lower().startswith("x-request-id"))
        self.await_line(re.compile(rf'"event": ?"request".*{identity}'))

    def _finish(self, command: list[str], settings: dict[str, str], *, fails: bool) -> None:
        done = self._start(command, settings)
        output, _ = done.communicate(timeout=WAIT_S)
        self._lines.append(output)
        assert fails == (done.returncode != 0), f"{command}: {output}"
        if self._servers and command[0] == "python":  # a message was sent: the consumer says when it is done
            self.await_line(re.compile(r'"event": ?"message"'))

    def _stop(self) -> None:
        for server in self._servers:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
        for reader in self._readers:
            reader.join(WAIT_S)
