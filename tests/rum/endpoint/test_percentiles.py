"""The 75th percentile of every vital, through the endpoint and a real Prometheus, against the exact one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import pytest

from bench.prometheus import Prometheus, prometheus
from demo_app.parts import free_port
from demo_app.programs import ProgramMissingError, find

from .sampled import CASES, MIDDLES, VALUES

ROOT = Path(__file__).parents[3]


@pytest.fixture(name="counted", scope="module")
def _counted() -> Iterator[tuple[Prometheus, dict[str, list[float]]]]:
    """Prometheus once it has seen all values on both ways, and the exact percentiles."""
    try:
        find("prometheus", build=False)
    except ProgramMissingError as missing:
        pytest.skip(str(missing))
    port = free_port()
    targets = {"native": (f"127.0.0.1:{port}", True), "classic": (f"127.0.0.1:{port}", False)}
    with prometheus(targets) as server:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([f"{ROOT}/sdk/src", f"{ROOT}/rum/src"])}
        command = [sys.executable, str(Path(__file__).with_name("sampled.py")), str(port)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
        assert process.stdout is not None
        exact = json.loads(process.stdout.readline())
        name = series("CLS", "native")
        server.await_value(f"sum(histogram_count({name}))", CASES * VALUES)
        server.await_value(f'sum({series("CLS", "classic").replace("{", "_count{")})', CASES * VALUES)
        yield server, exact
        process.communicate(b"\n")


def series(name: str, job: str) -> str:
    """The selector of a vital's histogram by device."""
    unit = "" if name == "CLS" else "_seconds"
    return f'firstcause_page_{name.lower()}_device{unit}{{job="{job}"}}'


def errors(server: Prometheus, name: str, expression: str, exact: list[float]) -> list[float]:
    """Relative errors, case by case."""
    found = {labels["page_route"]: value for labels, value in server.query(expression)}
    scale = 1 if name == "CLS" else 1000
    return [abs(found[f"/case{chr(97 + case)}"] * scale / right - 1) for case, right in enumerate(exact)]


@pytest.mark.parametrize("name", MIDDLES)
def test_the_75th_percentile(counted: tuple[Prometheus, dict[str, list[float]]], name: str) -> None:
    """Native histograms within 2.5 %; classic ones within 2 % in the mean and 8 % at worst."""
    server, exact = counted
    native = errors(server, name, f"histogram_quantile(0.75, sum by (page_route) ({series(name, 'native')}))", exact[name])
    buckets = series(name, "classic").replace("{", "_bucket{")
    classic = errors(server, name, f"histogram_quantile(0.75, sum by (page_route, le) ({buckets}))", exact[name])
    print(f"{name}: native max {max(native):.2%}; classic mean {mean(classic):.2%} max {max(classic):.2%}")
    assert max(native) <= 0.025
    assert mean(classic) <= 0.02
    assert max(classic) <= 0.08
