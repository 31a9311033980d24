"""Resources: everything that can run out, as in use, limit and waiting."""

from __future__ import annotations

from ..board import ENVIRONMENT, SERVICES, Board, Row, cell, row, to
from ..panels import BYTES, COUNT, ORANGE, RED, SECONDS, SHARE, THIRD, Query, graph, table
from ..promql import ENV, OVER, SERVICE, TIME, of_processes, rate, share, within

USED = ((0.8, ORANGE), (0.95, RED))
"""The rules write a ticket from 0.8 on."""
BY = "service_name, resource"
LEGEND = "{{service_name}} {{resource}}"


def board() -> Board:
    """What can run out in the services, the runtime and the machine."""
    says = "Everything that can run out: how much is in use, how much there is, who waits for it."
    return Board("resources", says, (ENVIRONMENT, SERVICES), (_all(), _runtime(), _processes(), _machine()))


def _sum(name: str) -> str:
    return f"sum by ({BY}) (firstcause_resource_{name}{within(SERVICE)})"


def _all() -> Row:
    used = share(_sum("in_use"), _sum("limit"), on=BY)
    return row(
        "What is running out?",
        table(
            "Everything with a limit", "Pools, threads, bulkheads and queues of all instances; fullest first.",
            {"service_name": "Service", "resource": "Resource"},
            Query(used, name="Used", unit=SHARE, steps=USED),
            Query(_sum("in_use"), name="In use"), Query(_sum("limit"), name="Limit"),
            Query(_sum("waiting"), name="Waiting", steps=((1, RED),)),
            links={"service_name": to("service", "env", service=cell("Service"))},
        ),
        graph(
            "How full is it?", "In use as a share of the limit.", Query(used, LEGEND), unit=SHARE, steps=USED, most=1
        ).wide(THIRD),
        graph("In use", "Units in use of each.", Query(_sum("in_use"), LEGEND), unit=COUNT).wide(THIRD),
        graph("Who waits?", "How many wait for a unit: above 0, requests stand still.", Query(_sum("waiting"), LEGEND),
              unit=COUNT, steps=((1, RED),)).wide(THIRD),
    )  # fmt: skip


def _runtime() -> Row:
    lost = rate(TIME, SERVICE, 'resource=~"runtime:.*"', by=BY)
    waits = rate(TIME, SERVICE, 'resource=~"(db_pool|lock|limiter):.*"', by=BY)
    collected = of_processes(f"sum by (job, instance, generation) (rate(python_gc_collections_total{OVER}))", SERVICE)
    return row(
        "What do requests wait for inside the process?",
        graph(
            "Time lost in the runtime",
            "Seconds per second of requests: a blocked loop, the interpreter lock, pauses, no core.",
            Query(lost, LEGEND), unit=SECONDS, stacked=True,
        ).wide(THIRD),
        graph(
            "Time spent waiting for a turn", "Seconds per second that requests waited for pools, locks and limiters.",
            Query(waits, LEGEND), unit=SECONDS, stacked=True,
        ).wide(THIRD),
        graph(
            "Garbage collections", "Collections per second; generation 2 looks at everything, and pauses longest.",
            Query(collected, "{{service_name}} generation {{generation}}"), unit="ops",
        ).wide(THIRD),
    )  # fmt: skip


def _processes() -> Row:
    cpu = of_processes(f"rate(process_cpu_seconds_total{OVER})", SERVICE)
    memory = of_processes("process_resident_memory_bytes", SERVICE)
    files = of_processes("(process_open_fds / process_max_fds)", SERVICE)
    legend = "{{service_name}} {{instance}}"
    return row(
        "Processes",
        graph("Processor", "Cores in use by each process.", Query(cpu, legend), unit=COUNT).wide(THIRD),
        graph("Memory", "Resident memory; a slope without load is a leak.", Query(memory, legend),
              unit=BYTES).wide(THIRD),
        graph(
            "File descriptors", "Open ones as a share of the process's limit; at the limit it accepts nobody.",
            Query(files, legend), unit=SHARE, steps=USED,
        ).wide(THIRD),
    )  # fmt: skip


def _machine() -> Row:
    idle = f'sum by (host_name) (rate(system_cpu_time_seconds_total{{{ENV},state="idle"}}{OVER}))'
    every = f"sum by (host_name) (rate(system_cpu_time_seconds_total{{{ENV}}}{OVER}))"
    memory = share(
        f'sum by (host_name) (system_memory_usage_bytes{{{ENV},state="used"}})',
        f"sum by (host_name) (system_memory_usage_bytes{{{ENV}}})", on="host_name",
    )  # fmt: skip
    disk = f"sum by (host_name, device) (rate(system_disk_io_time_seconds_total{{{ENV}}}{OVER}))"
    network = f"sum by (host_name, direction) (rate(system_network_io_bytes_total{{{ENV}}}{OVER}))"
    space = share(
        f'sum by (host_name, mountpoint) (system_filesystem_usage_bytes{{{ENV},state="used"}})',
        f"sum by (host_name, mountpoint) (system_filesystem_usage_bytes{{{ENV}}})", on="host_name, mountpoint",
    )  # fmt: skip
    load = f"max by (host_name) (system_cpu_load_average_1m{{{ENV}}})"
    return row(
        "Machine",
        graph("Processor of the machine", "Share of all cores that is busy.",
              Query(f"1 - {share(idle, every, on='host_name')}", "{{host_name}}"), unit=SHARE, steps=USED).wide(4),
        graph("Runnable", "How many threads run or want to, mean of a minute.", Query(load, "{{host_name}}"),
              unit=COUNT).wide(4),
        graph("Memory of the machine", "Share of memory in use.", Query(memory, "{{host_name}}"), unit=SHARE,
              steps=USED).wide(4),
        graph("Disk time", "Share of the time in which a disk was busy.", Query(disk, "{{host_name}} {{device}}"),
              unit=SHARE, steps=USED).wide(4),
        graph("Disk space", "Share of each file system in use.", Query(space, "{{host_name}} {{mountpoint}}"),
              unit=SHARE, steps=USED).wide(4),
        graph("Network", "Bytes per second in and out.", Query(network, "{{host_name}} {{direction}}"),
              unit="Bps").wide(4),
    )  # fmt: skip
