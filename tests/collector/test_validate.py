"""The Collector's own check: it takes the shipped files, and refuses what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from .running import CONFIG, validated

pytestmark = pytest.mark.e2e
MUTANTS = (
    ("agent.yaml", "  hostmetrics:\n", "  hostmetric:\n", "hostmetric"),
    ("agent.yaml", "exporters: [routing/logs]", "exporters: [routing/lines]", "routing/lines"),
    ("agent.yaml", "override: false", "overwrite: false", "overwrite"),
    ("agent.yaml", "'^session\\.id$'", "'^session\\.(id$'", "missing closing"),
    ("agent.yaml", "set(span.name,", "put(span.name,", "put"),
    ("agent.yaml", "context: span", "context: spam", "spam"),
    ("agent.yaml", "queue_size: ${env:QUEUE_BYTES:-268435456}", "queue_size: 0", "queue_size"),
    ("gateway.yaml", "status_codes: [ERROR]", "status_code: [ERROR]", "status_code"),
    ("gateway.yaml", "limit_percentage: 75", "limit_percentage: 0", "limit"),
    ("gateway.yaml", "unit: s", "unit: minutes", "minutes"),
    ("gateway.yaml", "max_elapsed_time: 0", "max_elapsed: 0", "max_elapsed"),
    ("gateway.yaml", "http://loki:3100/otlp", "", "endpoint"),
)


@pytest.mark.parametrize("name", ["agent.yaml", "gateway.yaml"])
def test_the_shipped_files_are_valid(name: str, tmp_path: Path) -> None:
    """With the defaults of compose, and nothing else."""
    done = validated(CONFIG / name, tmp_path)
    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "said"), MUTANTS, ids=[new.strip() or old for _name, old, new, _said in MUTANTS]
)
def test_a_mistake_is_refused_by_name(name: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    """One mistake, and the message says which."""
    text = (CONFIG / name).read_text()
    assert old in text
    broken = tmp_path / name
    broken.write_text(text.replace(old, new, 1))
    done = validated(broken, tmp_path)
    assert 0 != done.returncode
    assert said in done.stderr
