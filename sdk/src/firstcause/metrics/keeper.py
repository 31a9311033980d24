"""What metrics do beside the requests: one thread that publishes, listens and pushes; none where there is no need."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from time import monotonic, time_ns
from typing import Any

from .._guard import count, guard, report
from .cells import Metrics
from .exposition import Exposition, start
from .otlp import encode_metrics
from .snapshot import publish

TICK_S = 1.0
"""How old the gauges and custom metrics of a sibling are at most, and how soon a free port is taken over."""


class Push:
    """Cumulative metrics by OTLP, every `interval_s`; the next push makes up for one that failed."""

    def __init__(self, resource: Mapping[str, Any], exporter: Any, interval_s: float, *, explicit: bool) -> None:
        self.resource, self.exporter, self.interval_s, self.explicit = resource, exporter, interval_s, explicit
        self.born_ns = time_ns()

    def send(self, exposition: Exposition, born_ns: int) -> bool:
        """Encode and send what there is now; a failure is counted."""
        body = encode_metrics(self.resource, exposition.families(), born_ns, time_ns(), explicit=self.explicit)
        reply = self.exporter.send(body) if body else None
        if reply is not None and not reply:
            count("firstcause.self.dropped", signal="metrics", reason=reply.reason or "rejected")
        return reply is None or bool(reply)


class Keeper:
    """One per process. `ensure` starts its thread when something needs one."""

    def __init__(self, metrics: Metrics, push: Push | None = None) -> None:
        self.metrics, self._push = metrics, push
        self.exposition = Exposition(metrics)
        self._address: tuple[str, int] | None = None
        self._renew()
        metrics.awake = self.ensure

    def _renew(self) -> None:
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._bell = threading.Event()
        self._done = threading.Event()
        self._stopping = self._sent = False
        self._lead = -1

    def after_fork(self) -> None:
        """The child leaves port and leadership to the parent, and tries for them when the parent is gone."""
        server, lead = self._server, self._lead
        self._renew()
        self.exposition.after_fork()
        if server is not None:
            server.socket.close()
        if lead >= 0:
            # The lock lasts as long as any copy of its descriptor: kept here, it would outlive the parent.
            os.close(lead)
        if self._push is not None:
            self._push.exporter.after_fork()
            self._push.born_ns = time_ns()

    # -- listening ----------------------------------------------------------------------------

    def listen(self, host: str, port: int) -> int | None:
        """Serve `/metrics` there; None while somebody else has the port, which is then taken over later.

        Raises OSError when nobody could listen there, such as on a foreign address.
        """
        import errno

        try:
            self._server = start(self.exposition, host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            self._address = (host, port)
            self.ensure()
            return None
        self._address = (host, int(self._server.server_port))
        return self._address[1]

    def _take_port(self) -> None:
        if self._server is None and self._address is not None:
            try:
                self._server = start(self.exposition, *self._address)
            except OSError:
                return

    # -- the thread ---------------------------------------------------------------------------

    def _needed(self) -> bool:
        waiting = self._address is not None and self._server is None
        return self._push is not None or self.metrics.store.group is not None or waiting

    def ensure(self) -> None:
        """Start the thread when there is something for it to do. Cheap; never raises."""
        if self._thread is not None or self._stopping or not self._needed():
            return
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="firstcause-keeper", daemon=True)
                with guard("metrics.keeper"):
                    thread.start()
                    self._thread = thread
        finally:
            self._starting.release()

    def _run(self) -> None:
        push = self._push
        due = monotonic() + (push.interval_s if push else 0.0)
        try:
            while not self._stopping:
                left = due - monotonic() if push else TICK_S
                often = self.metrics.store.group is not None or (self._address is not None and self._server is None)
                self._bell.wait(max(0.0, min(left, TICK_S) if often else left))
                with guard("metrics.tick"):
                    self._tick()
                if push is not None and monotonic() >= due and not self._stopping:
                    due = monotonic() + push.interval_s
                    self._send()
            self._last()
        except Exception as error:  # noqa: BLE001 - nothing of ours may end in the host's excepthook
            report("metrics.keeper", error)
        finally:
            self._done.set()

    def _tick(self) -> None:
        if self.metrics.store.group is not None:
            self.metrics.store.join()
            publish(self.metrics)
        if not self._stopping:
            self._take_port()

    def _send(self) -> bool:
        push = self._push
        if push is None or not self._leads():
            return True
        group = self.metrics.store.group
        try:
            # Whoever leads goes on with the group's series: a start of its own would look like a reset.
            return push.send(self.exposition, push.born_ns if group is None else group.born_ns())
        except Exception as error:  # noqa: BLE001 - the host must not notice
            return not report("metrics.push", error)

    def _leads(self) -> bool:
        """Whether this process pushes for its group; alone it always does."""
        group = self.metrics.store.group
        if group is None or self._lead >= 0:
            return True
        self._lead = group.lead()
        return self._lead >= 0

    # -- the end ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin the end: publish and push a last time, in the thread. Does not wait."""
        self._stopping = True
        self._bell.set()

    def _last(self) -> None:
        with guard("metrics.publish"):
            publish(self.metrics)
        self._sent = self._send()
        if self._lead >= 0:
            os.close(self._lead)  # whoever ends after us may push what came meanwhile
            self._lead = -1

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; True when the last push was accepted. The collector is hung up on when it takes longer."""
        if self._thread is None:
            with guard("metrics.publish"):
                publish(self.metrics)
            return True
        if not self._done.wait(max(0.0, timeout_s)) and self._push is not None:
            self._push.exporter.abort()  # the send under way ends with it, and is counted there
        return self._done.is_set() and self._sent

    def flush(self, timeout_s: float) -> bool:
        """Publish and push now, at most `timeout_s` seconds."""
        done = threading.Event()
        sent: list[bool] = []

        def work() -> None:
            with guard("metrics.flush"):
                publish(self.metrics)
                sent.append(self._send())
            done.set()

        # On a thread of its own: the exporter's time-out may be longer than the caller's.
        threading.Thread(target=work, name="firstcause-flush", daemon=True).start()
        return done.wait(max(0.0, timeout_s)) and all(sent)
