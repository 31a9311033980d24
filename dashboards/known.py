"""Metric names that queries may use: our own conventions, the rules' records, and the pinned programs' own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from firstcause.conventions import HISTOGRAM, INSTRUMENTS, prometheus_name

RULES = Path(__file__).resolve().parent.parent / "alerts" / "generated" / "rules.yml"
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "Prometheus, about its scrapes and alerts": (
        "up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS",
    ),
    "prometheus_client, in every service": (
        "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds",
        "python_gc_collections_total",
    ),
    "Prometheus 3.16.0": (
        "prometheus_rule_evaluation_failures_total", "prometheus_rule_group_last_evaluation_timestamp_seconds",
        "prometheus_rule_group_last_duration_seconds", "prometheus_rule_group_interval_seconds",
        "prometheus_notifications_dropped_total", "prometheus_tsdb_head_series",
    ),
    "Alertmanager 0.31.1": ("alertmanager_notifications_total", "alertmanager_notifications_failed_total"),
    "Loki 3.7.8": ("loki_distributor_lines_received_total", "loki_discarded_samples_total"),
    "Collector 0.145.0": (
        *(
            f"otelcol_{verb}_{signal}_total"
            for verb in ("receiver_accepted", "receiver_refused", "exporter_sent", "exporter_send_failed")
            for signal in ("spans", "log_records", "metric_points")
        ),
        "otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity",
    ),
    "hostmetrics receiver 0.145.0": (
        "system_cpu_time_seconds_total", "system_cpu_load_average_1m", "system_memory_usage_bytes",
        "system_disk_io_time_seconds_total", "system_filesystem_usage_bytes", "system_network_io_bytes_total",
    ),
    "postgresql receiver 0.145.0": (
        "postgresql_backends", "postgresql_connection_max", "postgresql_commits_total", "postgresql_rollbacks_total",
        "postgresql_blocks_read_total", "postgresql_replication_data_delay_bytes", "postgresql_db_size_bytes",
        "postgresql_table_size_bytes",
    ),
    "redis receiver 0.145.0": (
        "redis_keyspace_hits_total", "redis_keyspace_misses_total", "redis_keys_evicted_total",
        "redis_keys_expired_total",
        "redis_commands_processed_total", "redis_db_keys", "redis_memory_used_bytes", "redis_clients_connected",
        "redis_clients_blocked", "redis_connections_rejected_total",
    ),
}  # fmt: skip
"""By who exposes them, in the versions of `demo_app/programs.py` and `collector-config/builder-config.yaml`."""


def ours() -> set[str]:
    """Names of our instruments, histograms with their parts."""
    names: set[str] = set()
    for instrument in INSTRUMENTS:
        name = prometheus_name(instrument)
        names.add(name)
        if instrument.kind == HISTOGRAM:
            names |= {f"{name}_{part}" for part in ("count", "sum", "bucket")}
    return names


def recorded(rules: Path = RULES) -> set[str]:
    """Names that the generated rules record."""
    groups = yaml.load(rules.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["groups"]  # noqa: S506
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


@cache
def names() -> frozenset[str]:
    """All of them."""
    return frozenset(ours() | recorded() | {name for listed in PROGRAMS.values() for name in listed})
