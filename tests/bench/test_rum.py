"""The bench of the endpoint is honest: its payloads are real, and its fuzz finds what is planted."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator

from bench import rum, rum_fuzz
from bench.rum_apps import SCHEMA
from firstcause.testing import Capture
from firstcause_rum import wire

ROOT = Path(__file__).parents[2]


def test_both_peers_accept_what_is_sent() -> None:
    """The schema and the endpoint take the same beacon, the endpoint without dropping anything."""
    body = orjson.loads(rum.request(random.Random(1)).partition(b"\r\n\r\n")[2])
    assert Draft202012Validator(SCHEMA).is_valid(body)
    assert (10, {}) == (len(wire.read(body).items), dict(wire.read(body).dropped))


@pytest.mark.parametrize("change", [{"v": 2}, {"items": []}, {"id": "x"}, {"sent": -1}])
def test_both_peers_refuse_the_same(change: dict[str, object]) -> None:
    """Or the comparison would be of two different things."""
    body = {**orjson.loads(rum.request(random.Random(1)).partition(b"\r\n\r\n")[2]), **change}
    assert not Draft202012Validator(SCHEMA).is_valid(body)
    with pytest.raises(wire.Refused):
        wire.read(body)


def test_a_short_fuzz_finds_nothing() -> None:
    """The command itself."""
    command = [sys.executable, "-m", "bench", "rum", "--fuzz", "600", "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert "nothing wrong in 600 payloads, seed 3" in done.stdout


def test_the_judge_sees_what_is_wrong() -> None:
    """A 5xx, an error of ours, too many views, growth."""
    with Capture():
        assert [] == rum_fuzz.judge(Counter({"204": 5, "400": 1}), [40_000] * 6 + [47_000] * 4, 10)
        found = rum_fuzz.judge(Counter({"500": 1}), [40_000 + 1000 * n for n in range(10)], 3000)
    assert ["1 answers of 500", "3000 views remembered", "memory grew from 44000 to 49000 kB in the second half"] == found
