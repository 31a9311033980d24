"""The stores' own checks take the shipped files, and what is pushed gets the labels that a scrape gives."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from demo_app.programs import ProgramMissingError, find

from .running import CONFIG

STORES = CONFIG / "stores"
RULES = CONFIG.parent / "alerts" / "generated" / "rules.yml"


def program(name: str) -> str:
    """Its path; skips with what to do where it is missing."""
    try:
        return str(find(name, build=False))
    except ProgramMissingError as missing:
        pytest.skip(str(missing))


def checked(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What promtool says of a configuration beside the shipped targets and rules."""
    shutil.copytree(STORES / "targets", folder / "targets")
    (folder / "rules").mkdir()
    shutil.copy(RULES, folder / "rules")
    (folder / "prometheus.yml").write_text(text)
    command = [program("promtool"), "check", "config", "prometheus.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.e2e
def test_prometheus_takes_its_file(tmp_path: Path) -> None:
    """With its rules and targets."""
    done = checked(tmp_path, (STORES / "prometheus.yml").read_text())
    assert 0 == done.returncode, done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize(
    "mistake", ["rule_file", "file_sd_config", "promote_resource_attribute", "out_of_order_windows"]
)
def test_prometheus_refuses_a_mistake(tmp_path: Path, mistake: str) -> None:
    """A key that is spelt wrong is no silent default."""
    right = {"out_of_order_windows": "out_of_order_time_window"}.get(mistake, f"{mistake}s")
    text = (STORES / "prometheus.yml").read_text()
    assert right in text
    assert 0 != checked(tmp_path, text.replace(f"{right}:", f"{mistake}:", 1)).returncode


@pytest.mark.e2e
def test_loki_takes_its_file() -> None:
    """With the defaults of compose."""
    command = [
        program("loki"),
        f"-config.file={STORES / 'loki.yaml'}",
        "-config.expand-env=true",
        "-verify-config=true",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr


def test_pushed_metrics_keep_their_identity() -> None:
    """The four names that every series of a service has are promoted; Loki's labels are two of them, and the writer."""
    identity = {"service.name", "service.version", "service.instance.id", "deployment.environment.name"}
    prometheus = yaml.safe_load((STORES / "prometheus.yml").read_text())
    loki = yaml.safe_load((STORES / "loki.yaml").read_text())
    (labels,) = loki["limits_config"]["otlp_config"]["resource_attributes"]["attributes_config"]
    assert identity <= set(prometheus["otlp"]["promote_resource_attributes"])
    assert set(labels["attributes"]) <= {*identity, "collector.instance.id"}


def test_a_stream_of_logs_has_one_writer() -> None:
    """Loki loses lines of a stream that two write to, when it is killed: each gateway has its own, and one consumer."""
    loki = yaml.safe_load((STORES / "loki.yaml").read_text())
    gateway = yaml.safe_load((STORES.parent / "gateway.yaml").read_text())
    (labels,) = loki["limits_config"]["otlp_config"]["resource_attributes"]["attributes_config"]
    assert "collector.instance.id" in labels["attributes"]
    assert "transform/gateway" in gateway["service"]["pipelines"]["logs"]["processors"]
    assert any("GATEWAY_NAME" in said for said in gateway["processors"]["transform/gateway"]["log_statements"])
    assert 1 == gateway["exporters"]["otlp_http/loki"]["sending_queue"]["num_consumers"]


def test_every_store_forgets() -> None:
    """Each has a limit of time, and Prometheus one of size."""
    prometheus, loki, jaeger = (
        yaml.safe_load((STORES / name).read_text()) for name in ("prometheus.yml", "loki.yaml", "jaeger.yaml")
    )
    assert {"time": "35d", "size": "8GB"} == prometheus["storage"]["tsdb"]["retention"]
    assert ("336h", True) == (loki["limits_config"]["retention_period"], loki["compactor"]["retention_enabled"])
    assert "168h" == jaeger["extensions"]["jaeger_storage"]["backends"]["badger"]["badger"]["ttl"]["spans"]
