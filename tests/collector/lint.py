"""Our own rules for the configuration files: what a change must not take away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CONFIG = Path(__file__).resolve().parents[2] / "collector-config"
KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")
_ENV = re.compile(r"\$\{(?:env:)?([A-Z][A-Z_]+)")
_NAMES = {
    "otlpexporter": "otlp_grpc", "otlphttpexporter": "otlp_http", "memorylimiter": "memory_limiter",
    "tailsampling": "tail_sampling", "healthcheck": "health_check", "filestorage": "file_storage",
}  # fmt: skip
"""Where a component is called otherwise than its module."""


def files() -> dict[str, str]:
    """The shipped texts, by path below `collector-config/`."""
    names = ("agent.yaml", "gateway.yaml", "builder-config.yaml", "stores/jaeger.yaml", "stores/loki.yaml", "README.md")
    return {name: (CONFIG / name).read_text() for name in names}


def complaints(texts: dict[str, str]) -> list[str]:
    """Everything that is against the rules."""
    found: list[str] = []
    for name in ("agent.yaml", "gateway.yaml"):
        config = yaml.safe_load(texts[name])
        found += [f"{name}: {said}" for said in (*_of_pipelines(config), *_of_exporters(config), *_of_limits(config))]
        if next(iter(config)) != "service":
            found.append(f"{name}: pipelines come first")
    agent = yaml.safe_load(texts["agent.yaml"])["service"]["pipelines"]
    for pipeline, parts in agent.items():
        if "otlp" in parts["receivers"] and "redaction" not in parts["processors"]:
            found.append(f"agent.yaml: {pipeline} is not redacted")
    return [*found, *_of_manifest(texts), *_of_names(texts)]


def _of_pipelines(config: dict[str, Any]) -> Iterator[str]:
    for name, parts in config["service"]["pipelines"].items():
        processors = parts.get("processors", [])
        begins = not any(receiver in config.get("connectors", {}) for receiver in parts["receivers"])
        if begins and processors[:1] != ["memory_limiter"]:
            yield f"{name} has no memory_limiter in front"
        if any(processor.partition("/")[0] == "batch" for processor in processors):
            yield f"{name} acknowledges what only memory holds"
        if "spanmetrics" in parts["exporters"] and "tail_sampling" in processors:
            yield f"{name} counts after sampling"


def _of_exporters(config: dict[str, Any]) -> Iterator[str]:
    if "file_storage" not in config["service"]["extensions"]:
        yield "file_storage is not started"
    for name, exporter in config["exporters"].items():
        if exporter.get("sending_queue", {}).get("storage") != "file_storage":
            yield f"{name} has no queue on disk"
        if exporter.get("retry_on_failure", {}).get("max_elapsed_time") != 0:
            yield f"{name} gives up"


def _of_limits(config: dict[str, Any]) -> Iterator[str]:
    protocols = config["receivers"]["otlp"]["protocols"]
    for name, limit in (("grpc", "max_recv_msg_size_mib"), ("http", "max_request_body_size")):
        if name in protocols and limit not in protocols[name]:
            yield f"otlp over {name} has no limit of its own"
    if not config["service"]["telemetry"]["metrics"]["readers"]:
        yield "its own telemetry cannot be scraped"


def _of_manifest(texts: dict[str, str]) -> Iterator[str]:
    manifest = yaml.safe_load(texts["builder-config.yaml"])
    configs = [yaml.safe_load(texts[name]) for name in ("agent.yaml", "gateway.yaml")]
    for kind in KINDS:
        used = {name.partition("/")[0] for config in configs for name in config.get(kind, {})}
        built = {_component(line["gomod"]) for line in manifest[kind]}
        if used != built:
            yield f"builder-config.yaml: {kind} differ from what is used: {sorted(used ^ built)}"


def _component(line: str) -> str:
    found = re.search(r"/([a-z]+) v", line)
    name = found[1] if found else line
    bare = re.sub("(receiver|processor|exporter|connector|extension)$", "", name)
    return _NAMES.get(name) or _NAMES.get(bare) or bare


def _of_names(texts: dict[str, str]) -> Iterator[str]:
    used = {
        env
        for name, text in texts.items()
        if name.endswith(".yaml")
        for line in text.splitlines()
        for env in _ENV.findall(line)
    }
    told = {
        env
        for line in texts["README.md"].splitlines()
        if line.startswith("| `")
        for env in re.findall(r"`([A-Z][A-Z_]+)`", line.split("|")[1])
    }
    if used != told:
        yield f"README.md: the table of names differs: {sorted(used ^ told)}"
