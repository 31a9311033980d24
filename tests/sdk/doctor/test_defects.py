"""Each check finds its defect in a service that has it, and nothing in one that has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from firstcause.doctor.wire import Collector
from tests.sdk.doctor.defects import CASES

ROOT = Path(__file__).resolve().parents[3]
KEYS = {"FIRSTCAUSE_USER_KEY": "a key for users only", "FIRSTCAUSE_MESH_KEY": "a key of the whole deployment"}
ORIGIN = "service.version=1,deployment.environment.name=test"


def planned(name: str, folder: Path, endpoint: str) -> dict[str, Any]:
    """One visit, whose service is written into its folder."""
    case, module = CASES[name], name.replace(" ", "_")
    (folder / f"{module}.py").write_text(case.source)
    environ = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "sdk/src"), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_RESOURCE_ATTRIBUTES": ORIGIN, "FIRSTCAUSE_SHUTDOWN_S": "0.3", **KEYS, **case.environ,
    }  # fmt: skip
    argv = ["--json", "--app", f"{module}:app", "--path", case.path, *case.command]
    return {"folder": str(folder), "argv": argv, "environ": environ}


@pytest.fixture(name="folders", scope="module")
def _folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What every visit left behind."""
    endpoint = Collector().url
    folders = {name: tmp_path_factory.mktemp("service") for name in CASES}
    visits = [planned(name, folder, endpoint) for name, folder in folders.items()]
    program = [sys.executable, str(Path(__file__).with_name("visits.py"))]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "sdk/src")}
    subprocess.run(program, input=json.dumps(visits), text=True, env=environ, check=True, timeout=200)
    return folders


@pytest.mark.parametrize("name", CASES)
def test_a_defect_is_found_by_its_check_and_by_no_other(name: str, folders: dict[str, Path]) -> None:
    """The checks with findings are those that the defect is for; a healthy service has none."""
    folder = folders[name]
    report = json.loads((folder / "report").read_text() or (folder / "errors").read_text())
    found = {check["id"]: check["findings"] for check in report["checks"] if check["findings"]}
    wanted = set(CASES[name].found)
    assert wanted == (set(found) & wanted if "+" in wanted else set(found)) | (wanted & {"+"}), found
    assert [] == [check for check in report["checks"] if check["skipped"].startswith("the check failed")]
    assert all(each["what"] and each["where"] and each["fix"] for findings in found.values() for each in findings)
    assert str({"error": 2}.get(report["status"], 0)) == (folder / "code").read_text()
