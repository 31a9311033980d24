"""From configuration to running metrics: which processes count together, who listens, what is pushed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from .._guard import report
from .cells import Metrics
from .custom import LazyMeterProvider
from .keeper import Keeper, Push
from .prefork import parent
from .store import Store, forks

if TYPE_CHECKING:
    from .._config import Config
    from .group import Group

EXPLICIT = "explicit_bucket_histogram"


class Telemetry:
    """All of metrics in one process, as `configure` holds it."""

    def __init__(self, metrics: Metrics, keeper: Keeper, meters: LazyMeterProvider) -> None:
        self.metrics, self.keeper, self.meters = metrics, keeper, meters
        meters.awake = keeper.ensure
        if forks():
            # Only the parent's half: `_setup` calls the child's, in its own order.
            os.register_at_fork(before=self._before_fork)

    def _before_fork(self) -> None:
        self.meters.before_fork()
        self.metrics.before_fork()

    def after_fork(self) -> None:
        """In the child: own counts from zero, own thread, nothing of the parent's held."""
        self.metrics.after_fork()
        self.meters.after_fork()
        self.keeper.after_fork()


def make(config: Config, resource: dict[str, str]) -> tuple[Telemetry, str]:
    """The metrics of this process, and one line for the report about whom they are shared with."""
    labels, folder, shared = _sharing(config, dict(resource))
    metrics = Metrics(labels, config.objectives.values(), Store(_grouping(labels, folder), now=bool(folder)))
    if folder and metrics.store.group is None:
        shared = f"metrics of this process alone: {folder} cannot be used"
    explicit = config.histograms == EXPLICIT
    meters = LazyMeterProvider(labels, explicit=explicit)
    metrics.custom = meters.collect
    return Telemetry(metrics, Keeper(metrics, _push(config, labels, explicit=explicit)), meters), shared


def _push(config: Config, resource: Mapping[str, str], *, explicit: bool) -> Push | None:
    if "otlp" not in config.metrics_to:
        return None
    from ..export.http import OtlpHttpExporter
    from .grpc import GrpcExporter

    way = config.signal("metrics")
    exporter: Any = (
        GrpcExporter(way)
        if way.protocol == "grpc"
        else OtlpHttpExporter(way.url, way.headers, way.timeout_s, cast(Any, way.compression))
    )
    return Push(resource, exporter, config.metrics_interval_s, explicit=explicit)


def _sharing(config: Config, resource: dict[str, str]) -> tuple[dict[str, str], str, str]:
    """Labels, folder (empty: none yet) and the report's line.

    Processes that count together are one instance: else the same series would change its labels with
    every worker that happens to answer.
    """
    if not forks():
        return resource, "", ""
    from .group import automatic_folder, folder_name

    master = parent()
    if config.metrics_dir:
        folder = os.path.join(config.metrics_dir, folder_name(resource))
        told = f"metrics shared by all processes in {config.metrics_dir}"
        # Without a common parent, the hash in the folder's name is what they share.
        return _as_one(config, resource, folder.rpartition("-")[2] if master is None else str(master)), folder, told
    if master is None:
        return resource, "", ""
    try:
        folder = automatic_folder(resource, master)
    except OSError as error:
        report("metrics.folder", error)
        return resource, "", f"metrics of this worker alone: no folder to share ({error})"
    return _as_one(config, resource, str(master)), folder, f"metrics shared by all workers of process {master}"


def _as_one(config: Config, resource: dict[str, str], name: str) -> dict[str, str]:
    if config.instance:
        return resource
    return {**resource, "service.instance.id": f"{socket.gethostname()}-{name}"}


def _grouping(labels: Mapping[str, str], folder: str) -> Callable[[], Group | None] | None:
    """How the store gets its group: now, in a given folder; or with the first fork, in one of this process."""
    if not forks():
        return None

    def make_group() -> Group | None:
        from .group import Group, automatic_folder
        from .snapshot import fold

        return Group(folder or automatic_folder(labels, os.getpid()), fold)

    return make_group


__all__ = ["Telemetry", "make"]
