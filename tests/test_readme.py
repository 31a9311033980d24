"""What the READMEs say is true: every command exists, every snippet runs."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("[!.]*/README.md"))]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
TARGETS = sorted(
    {
        target
        for page in PAGES
        for target in re.findall(r"\bmake ([a-z0-9]+)\b`?", page.read_text())
        if re.search(rf"(`|^)make {target}\b", page.read_text(), re.MULTILINE)
    }
)
MODULES = sorted({name for page in PAGES for name in re.findall(r"`python -m ([\w.]+)", page.read_text())})
SERVE = """
import socket, sys, uvicorn
from shop import app
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""


def test_every_block_is_of_a_kind_that_is_executed() -> None:
    """A new kind of block needs a new test; pictures are text."""
    assert {"text", "sh", "python"} == {kind for kind, _ in BLOCKS}


def test_every_command_on_the_first_screen_is_a_verb() -> None:
    """The shell blocks hold makes, each of which make knows, and one command that tests/e2e/test_compose.py runs."""
    commands = [line.split() for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    up = ["docker", "compose", "up", "--wait"]
    assert [["make", "demo"], ["make", "test"], ["make", "secrets"], up] == commands


@pytest.mark.parametrize("target", TARGETS)
def test_every_verb_named_in_a_readme_exists(target: str) -> None:
    """`make -n` knows how to do it."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("module", MODULES)
def test_every_module_named_in_a_readme_exists(module: str) -> None:
    """`python -m` finds it, without running it."""
    found = find_spec(module)
    assert found is not None
    assert found.submodule_search_locations is None or find_spec(f"{module}.__main__") is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Links to files of the project are not broken."""
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)\)", page.read_text())
    assert [] == [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_folder_says_in_here_and_out(page: Path) -> None:
    """The first thing to read of a folder is which way the data goes."""
    second = page.read_text().split("\n\n")[1]
    assert ["In", "Here", "Out"] == re.findall(r"\*\*(\w+)\*\*", second)


def test_the_snippet_serves_requests_with_ids(tmp_path: Path) -> None:
    """The three lines, in a real server: the answer has the id that the log line has."""
    (snippet,) = (text for kind, text in BLOCKS if kind == "python")
    (tmp_path / "shop.py").write_text(snippet)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = serve(tmp_path, listening)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/orders/7"
        try:
            with urllib.request.urlopen(address, timeout=30) as reply:
                identity, body = reply.headers["X-Request-ID"], json.load(reply)
        finally:
            server.terminate()
            output, _ = server.communicate(timeout=30)
    assert {"id": 7} == body
    told = [line for line in output.splitlines() if "order read" in line]
    assert identity
    assert [True] == [identity in line and '"order_id":7' in line.replace(" ", "") for line in told]


def serve(folder: Path, listening: socket.socket) -> subprocess.Popen[str]:
    """The snippet under uvicorn; a request made now waits in the backlog until it serves."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "FIRSTCAUSE_"))}
    silent = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "FIRSTCAUSE_METRICS_PORT": "0"}
    path = {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "sdk/src")])}
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, str(listening.fileno())],
        env=kept | silent | path,
        pass_fds=[listening.fileno()],
        stdout=subprocess.PIPE,
        text=True,
    )
