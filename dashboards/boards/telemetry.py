"""Telemetry health: whether what the other dashboards show can be believed."""

from __future__ import annotations

from ..board import ENVIRONMENT, SERVICES, Board, Row, row
from ..panels import BYTES, COUNT, HALF, ORANGE, QUARTER, RED, SECONDS, SHARE, THIRD, Query, graph, stat, table
from ..promql import OVER, SERVICE, increase, rate, share, within

ANY = ((0.001, RED),)
SENT = ("spans", "log_records", "metric_points")


def board() -> Board:
    """What watches the watcher."""
    says = "Whether telemetry itself is well: what was dropped, what is waiting, who is not scraped, which rules fail."
    return Board("telemetry", says, (ENVIRONMENT, SERVICES), (_now(), _sdk(), _collector(), _prometheus(), _stores()))


def _now() -> Row:
    lost = f"({increase('firstcause_self_dropped_total', SERVICE)}) or vector(0)"
    down = "count(up == 0) or vector(0)"
    failing = "sum(increase(prometheus_rule_evaluation_failures_total[$__range]))"
    untold = (
        "sum(increase(prometheus_notifications_dropped_total[$__range]))"
        " + sum(increase(alertmanager_notifications_failed_total[$__range]))"
    )
    return row(
        "Can it be believed?",
        stat("Dropped by services", "Spans, lines and events the SDK could not deliver, in the time range.",
             Query(lost), COUNT, ((1, RED),)),
        stat("Targets down", "Addresses Prometheus cannot scrape now.", Query(down), COUNT, ((1, RED),)),
        stat("Rules that failed", "Evaluations that failed in the time range: an alert may be silent.", Query(failing),
             COUNT, ((1, RED),)),
        stat("Notifications lost", "Not taken by Alertmanager, or by a receiver, in the time range.", Query(untold),
             COUNT, ((1, RED),)),
        stat("Heartbeat", "1 while the alert that always fires is told.",
             Query('count(ALERTS{alertname="Watchdog",alertstate="firing"}) or vector(0)'), COUNT, ((1, "green"),),
             below=RED),
        stat("Oldest rule result", "Time since the group of rules that lags most was evaluated.",
             Query("time() - min(prometheus_rule_group_last_evaluation_timestamp_seconds > 0)"), SECONDS,
             ((300, ORANGE), (600, RED))),
    )  # fmt: skip


def _sdk() -> Row:
    of = {name: f"firstcause_self_{name}_total" for name in ("dropped", "errors", "rejected_headers", "overflow")}
    legend = "{{service_name}} {{signal}}"
    waiting = f"sum by (service_name, signal) (firstcause_self_queue{within(SERVICE)})"
    return row(
        "In the services",
        graph("Waiting for export", "Items queued in the SDK; a slope means the Collector does not keep up.",
              Query(waiting, legend),
              unit=COUNT).wide(THIRD),
        graph("Dropped", "Items per second that were given up, and why.",
              Query(rate(of["dropped"], SERVICE, by="service_name, signal, reason"), f"{legend} {{{{reason}}}}"),
              unit="ops", steps=ANY).wide(THIRD),
        graph("Cost", "Cores that the SDK's own threads use; what requests pay is in `bench/results`.",
              Query(rate("firstcause_self_cpu_seconds_total", SERVICE, by="service_name"), "{{service_name}}"),
              unit=COUNT).wide(THIRD),
        graph("Swallowed errors", "Errors of our own per second, by place; requests are not harmed.",
              Query(rate(of["errors"], SERVICE, by="service_name, place"), "{{service_name}} {{place}}"), unit="ops",
              steps=ANY).wide(THIRD),
        graph("Ignored headers", "Per second, by reason: a wrong key, another clock, or a stranger.",
              Query(rate(of["rejected_headers"], SERVICE, by="service_name, header, reason"),
                    "{{service_name}} {{header}} {{reason}}"),
              unit="ops").wide(THIRD),
        graph("Folded into `other`",
              "Values per second beyond an attribute's bound: such a label says less than it could.",
              Query(rate(of["overflow"], SERVICE, by="service_name, attribute"), "{{service_name}} {{attribute}}"),
              unit="ops").wide(THIRD),
    )  # fmt: skip


def _collector() -> Row:
    where = "instance, exporter"

    def moved(verb: str) -> str:
        return " or ".join(f'label_replace({_total(f"{verb}_{name}")}, "signal", "{name}", "", "")' for name in SENT)

    full = share(f"max by ({where}, data_type) (otelcol_exporter_queue_size)",
                 f"max by ({where}, data_type) (otelcol_exporter_queue_capacity)",
                 on=f"{where}, data_type")  # fmt: skip
    return row(
        "In the Collector",
        graph("Received", "Items per second that it accepted.", Query(moved("receiver_accepted"), "{{signal}}"),
              unit="ops").wide(QUARTER),
        graph("Sent on", "Items per second delivered to the next.", Query(moved("exporter_sent"), "{{signal}}"),
              unit="ops").wide(QUARTER),
        graph("Refused or failed", "Items per second refused for want of memory, or not delivered.",
              Query(moved("receiver_refused"), "{{signal}} refused"),
              Query(moved("exporter_send_failed"), "{{signal}} failed"),
              unit="ops", steps=ANY).wide(QUARTER),
        graph("Queues", "Used share of each sending queue; full ones drop.", Query(full, "{{exporter}} {{data_type}}"),
              unit=SHARE, steps=((0.5, ORANGE), (0.8, RED)), most=1).wide(QUARTER),
    )  # fmt: skip


def _total(name: str) -> str:
    return f"sum(rate(otelcol_{name}_total{OVER}))"


def _prometheus() -> Row:
    late = share("max by (rule_group) (prometheus_rule_group_last_duration_seconds)",
                 "max by (rule_group) (prometheus_rule_group_interval_seconds)", on="rule_group")  # fmt: skip
    return row(
        "In Prometheus and Alertmanager",
        table("Targets", "Whether each address is scraped, how long that takes, how much it has.",
              {"job": "Job", "instance": "Address"},
              Query("min by (job, instance) (up)", name="Up"),
              Query("max by (job, instance) (scrape_duration_seconds)", name="Takes", unit=SECONDS),
              Query("max by (job, instance) (scrape_samples_scraped)", name="Samples")).wide(HALF),
        graph("Rule groups", "Evaluation time as a share of the interval; at 1 evaluations are missed.",
              Query(late, "{{rule_group}}"),
              unit=SHARE, steps=((0.5, ORANGE), (1, RED))).wide(QUARTER),
        graph("Series", "Series in memory: what Prometheus costs.",
              Query("max by (instance) (prometheus_tsdb_head_series)", "{{instance}}"),
              unit=COUNT).wide(QUARTER),
        graph("Notifications", "Sent per second, by integration.",
              Query(f"sum by (integration) (rate(alertmanager_notifications_total{OVER})) > 0", "{{integration}}"),
              unit="ops").wide(THIRD),
        graph("Failed notifications", "Per second, by integration and reason.",
              Query(f"sum by (integration, reason) (rate(alertmanager_notifications_failed_total{OVER}))",
                    "{{integration}} {{reason}}"),
              unit="ops", steps=ANY).wide(THIRD),
        graph("Failed rules", "Evaluations per second that failed, by group.",
              Query(f"sum by (rule_group) (rate(prometheus_rule_evaluation_failures_total{OVER}))", "{{rule_group}}"),
              unit="ops", steps=ANY).wide(THIRD),
    )  # fmt: skip


def _stores() -> Row:
    return row(
        "In the stores",
        graph("Lines that Loki takes", "Lines per second.",
              Query(f"sum(rate(loki_distributor_lines_received_total{OVER}))", "lines"),
              unit="ops").wide(THIRD),
        graph("Lines that Loki refuses", "Lines per second, by reason.",
              Query(f"sum by (reason) (rate(loki_discarded_samples_total{OVER}))", "{{reason}}"), unit="ops",
              steps=ANY).wide(THIRD),
        graph("Memory of the stores", "Resident memory of everything that Prometheus scrapes and is no service.",
              Query("process_resident_memory_bytes unless on (job, instance) firstcause_deploy_time_seconds",
                    "{{job}} {{instance}}"), unit=BYTES).wide(THIRD),
    )  # fmt: skip
