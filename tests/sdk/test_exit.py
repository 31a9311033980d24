"""The end of a process, as far as it can be seen without ending one; the rest is in `processes` and `chaos`."""

from __future__ import annotations

import os
import signal

import pytest

from firstcause._exit import Exit


def test_the_first_process_of_a_container_is_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel does not end it on SIGTERM, so telemetry goes out and goes on."""
    said: list[str] = []
    ending = Exit(lambda _seconds: said.append("flush"), lambda _seconds: said.append("shutdown"), 1.0)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    before = signal.getsignal(signal.SIGTERM)
    ending._terminated(signal.SIGTERM, None)
    assert (["flush"], before) == (said, signal.getsignal(signal.SIGTERM))
