"""A real server as a process: started, asked, ended by a signal, and read to the end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from demo_app.parts import free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BIN = Path(sys.executable).parent
UP_S = 60.0
_POLL_S = 0.02


class Served:
    """A command with `{port}` in it; run in `folder`, with our sources importable and spans going to `endpoint`."""

    def __init__(self, command: Sequence[str], endpoint: str, folder: Path, **environ: str) -> None:
        self.port = free_port()
        program, *rest = [part.format(port=self.port) for part in command]
        paths = os.pathsep.join([str(ROOT / "sdk/src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [str(BIN / program), *rest],
            cwd=folder,
            env={
                **os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths,
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "PYTHONDONTWRITEBYTECODE": "1", "FIRSTCAUSE_METRICS_PORT": "off",
                **environ,
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self.asked: dict[str, tuple[int, bytes]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines += [line.decode(errors="replace").rstrip("\n") for line in self.process.stdout]

    def __enter__(self) -> Self:
        end = time.monotonic() + UP_S
        while self.process.poll() is None:
            try:
                self.get("/ready", keep=False)
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < end, self.output()
                time.sleep(_POLL_S)
            else:
                return self
        raise AssertionError(f"ended with {self.process.returncode}:\n{self.output()}")

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, children included."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)

    def output(self) -> str:
        """What was printed, for the message of a failure; complete after the end."""
        return "\n".join(self.lines)

    def get(self, path: str, *, keep: bool = True, timeout_s: float = 30) -> tuple[int, bytes]:
        """One request of a trace of its own on a connection of its own."""
        trace = secrets.token_hex(16)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path, headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"})
            response = connection.getresponse()
            answer = response.status, response.read()
        finally:
            connection.close()
        if keep:
            self.asked[trace] = answer
        return answer

    def terminate(self, timeout_s: float = 30) -> float:
        """SIGTERM to the main process; the seconds until it and all its children have ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout_s)
        self._reader.join(timeout_s)  # the pipe closes with its last writer
        assert not self._reader.is_alive(), "a child has outlived the server"
        return time.monotonic() - began

    def canonical(self) -> list[dict[str, Any]]:
        """The canonical lines; a line that is torn fails to decode."""
        found = [json.loads(line) for line in self.lines if line.startswith('{"ts"')]
        return [line for line in found if line["event"] == "request"]

    def traces_on_lines(self) -> list[str]:
        """The trace ids of the canonical lines of what was asked."""
        return sorted(line["trace_id"] for line in self.canonical() if line["trace_id"] in self.asked)
