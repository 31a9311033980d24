"""Ports of real parts: each is given once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo_app import parts
from demo_app.parts import PartError, free_port

ROOT = Path(__file__).resolve().parents[2]
DRAWN = """
import sys
from demo_app import parts
draws = iter([int(sys.argv[1]), int(sys.argv[2])])
parts.secrets.randbelow = lambda _below: next(draws) - 20_000
print(parts.free_port())
"""
"""Draws the two ports in turn."""


def test_a_port_is_given_once_before_anybody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who draws a port that somebody was given draws another one, and says so when there is none."""
    given = free_port()
    monkeypatch.setattr(parts.secrets, "randbelow", lambda _below: given - 20_000)
    with pytest.raises(PartError, match="no free port"):
        free_port()


def test_another_process_is_not_given_it_either() -> None:
    """Tests run in several processes, and so do their shops."""
    given, other = free_port(), free_port()
    draw = [sys.executable, "-c", DRAWN, str(given), str(other)]
    refused = subprocess.run(draw, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "StopIteration" in refused.stderr
    parts._marks.pop().close()
    found = subprocess.run(draw, cwd=ROOT, capture_output=True, text=True, check=True)
    assert other == int(found.stdout)


def test_marks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that asks for ever keeps the latest marks only."""
    monkeypatch.setattr(parts, "MARKS", len(parts._marks) + 2)
    for _ in range(4):
        free_port()
    assert len(parts._marks) == parts.MARKS
