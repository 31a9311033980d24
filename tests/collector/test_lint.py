"""The rules for the shipped files hold, and each of them notices when it is broken."""

from __future__ import annotations

import pytest

from .lint import complaints, files

MUTANTS = (
    ("agent.yaml", "[memory_limiter, redaction]", "[memory_limiter]", "metrics is not redacted"),
    ("agent.yaml", "[memory_limiter, resourcedetection, redaction]", "[redaction]", "logs has no memory_limiter"),
    ("agent.yaml", "[memory_limiter, redaction]", "[memory_limiter, batch, redaction]", "only memory holds"),
    ("agent.yaml", "max_elapsed_time: 0", "max_elapsed_time: 300s", "gives up"),
    ("agent.yaml", "      storage: file_storage\n", "", "no queue on disk"),
    ("agent.yaml", "[health_check, file_storage]", "[health_check]", "file_storage is not started"),
    ("agent.yaml", "max_recv_msg_size_mib: 8", "keepalive: {}", "over grpc has no limit"),
    ("agent.yaml", "max_request_body_size: 8388608", "compression: gzip", "over http has no limit"),
    ("gateway.yaml", "receivers: [otlp]\n      processors: [memory_limiter]\n      exporters: [spanmetrics]",
     "receivers: [otlp]\n      processors: [memory_limiter, tail_sampling]\n      exporters: [spanmetrics]", "after sampling"),
    ("gateway.yaml", "service:\n  extensions", "zero: {}\nservice:\n  extensions", "pipelines come first"),
    ("gateway.yaml", "${env:SLOW_MS:-1000}", "${env:SLOW:-1000}", "table of names differs: ['SLOW', 'SLOW_MS']"),
    ("README.md", "| `GATEWAY_NAME`", "| `GATEWAY_NAMES`", "table of names differs"),
    ("builder-config.yaml", "\nprocessors:\n", "\nprocessors:\n  - gomod: x.example/batchprocessor v1.0.0\n", "['batch']"),
)  # fmt: skip


def test_the_shipped_files_keep_the_rules() -> None:
    """No complaint about what is shipped."""
    assert [] == complaints(files())


@pytest.mark.parametrize(("name", "old", "new", "said"), MUTANTS, ids=[said for *_rest, said in MUTANTS])
def test_a_broken_rule_is_noticed(name: str, old: str, new: str, said: str) -> None:
    """One change against one rule is told as that."""
    texts = files()
    assert old in texts[name]
    found = complaints({**texts, name: texts[name].replace(old, new, 1)})
    assert any(said in one for one in found), found
