"""The stack's own faults under load: hosts go on, and what was acknowledged arrives or is counted.

`python -m bench stack` plays the same with a minute's outage.
"""

from __future__ import annotations

import signal

import pytest

from .stack import until
from .trials import Trial, agent_away, agent_full, gateway_killed, stores_away
from .visitors import Running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
OUTAGE_S = 8.0
"""Longer than a service keeps in one batch, far shorter than it would try."""


def harmless(trial: Trial) -> None:
    """Every request was answered, and everything is in the stores."""
    print(trial)
    assert [] == trial.account.failed
    assert (0, 0, 0) == (len(trial.account.untraced), trial.lost, trial.dropped), trial


def test_the_agent_is_stopped_under_load(running: Running) -> None:
    """Services wait with what they have; nothing is lost."""
    harmless(agent_away(running, OUTAGE_S, signal.SIGTERM))


def test_the_agent_is_killed_under_load(running: Running) -> None:
    """What it acknowledged was on disk."""
    harmless(agent_away(running, 1.0, signal.SIGKILL))


def test_the_agents_disk_queue_is_full(running: Running) -> None:
    """It refuses and counts it, services keep what was refused, and all of it arrives once there is room."""
    trial = agent_full(running, OUTAGE_S)
    harmless(trial)
    assert trial.refused > 0


def test_the_stores_are_down(running: Running) -> None:
    """Jaeger and Loki are killed: gateways keep on disk what the two have not taken."""
    harmless(stores_away(running, OUTAGE_S))


def test_a_gateway_is_killed(running: Running) -> None:
    """It loses only what it had not decided, the other gateway's traces are whole, and no log line is missing."""
    trial = gateway_killed(running)
    print(trial)
    assert [] == trial.account.failed
    assert 0 == trial.lost
    assert [] == [one for one in trial.account.untraced if one not in trial.undecided]
    assert running.stack.processes["gateway-b"].poll() is None
    until(lambda: running.stack.counted("gateway-a", "otelcol_receiver_accepted_spans") > 0, "the gateway works again")
