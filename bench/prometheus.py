"""A real Prometheus for a bench or a test: started on a free port, stopped with the block."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_app.parts import await_port, dies_with_parent, free_port
from demo_app.programs import find

PROMOTED = ("service.name", "service.version", "service.instance.id", "deployment.environment.name")
"""Resource attributes that have to be labels, so that pushed series are named like scraped ones."""
CONFIG = """
global:
  scrape_interval: 1s
  scrape_native_histograms: true
  always_scrape_classic_histograms: true
otlp:
  promote_resource_attributes: [{promoted}]
scrape_configs:
{jobs}
"""
JOB = """
  - job_name: {name}
    scrape_native_histograms: {native}
    static_configs: [{{targets: ["{target}"]}}]
"""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    url: str

    @property
    def otlp(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` has to be."""
        return f"{self.url}/api/v1/otlp"

    def query(self, expression: str) -> list[tuple[dict[str, str], Any]]:
        """Labels and value (a float, or a native histogram's dict) of each series of an instant query."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=20) as reply:  # noqa: S310
            found = json.load(reply)["data"]["result"]
        return [(row["metric"], float(row["value"][1]) if "value" in row else row["histogram"][1]) for row in found]

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Exemplars of the last hour."""
        span = {"query": expression, "start": time.time() - 3600, "end": time.time() + 60}
        url = f"{self.url}/api/v1/query_exemplars?{urllib.parse.urlencode(span)}"
        with urllib.request.urlopen(url, timeout=20) as reply:  # noqa: S310
            return [exemplar for series in json.load(reply)["data"] for exemplar in series["exemplars"]]

    def value(self, expression: str) -> float:
        """The one value of an expression; NaN when there is none yet."""
        found = self.query(expression)
        return found[0][1] if found else float("nan")

    def await_value(self, expression: str, wanted: float, timeout_s: float = 60) -> None:
        """Wait until an expression has a value; raises TimeoutError with what it had last."""
        deadline = time.monotonic() + timeout_s
        while (found := self.value(expression)) != wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression} is {found} after {timeout_s:.0f} s, not {wanted}")
            time.sleep(0.1)


@contextmanager
def prometheus(targets: dict[str, tuple[str, bool]]) -> Iterator[Prometheus]:
    """Prometheus that scrapes `targets` (job to address, and whether native) and takes OTLP."""
    jobs = "".join(JOB.format(name=n, target=t, native=str(native).lower()) for n, (t, native) in targets.items())
    with tempfile.TemporaryDirectory(prefix="prometheus-") as home:
        config = Path(home, "prometheus.yml")
        config.write_text(CONFIG.format(promoted=", ".join(PROMOTED), jobs=jobs))
        port, log = free_port(), Path(home, "prometheus.log")
        command = [
            str(find("prometheus")), f"--config.file={config}", f"--storage.tsdb.path={home}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-otlp-receiver", "--enable-feature=exemplar-storage",
        ]  # fmt: skip
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=home, preexec_fn=dies_with_parent(9))  # noqa: PLW1509
        try:
            await_port(port, process, log)
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(20)
