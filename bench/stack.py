"""What the stack loses: its parts are stopped, killed, filled and cut off under load, a minute each.

Agent, two gateways and the stores as real programs with the shipped configuration; requests with known trace ids
against what Jaeger and Loki have. The tests play the same with shorter outages.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.e2e import trials
from tests.e2e.trials import Trial
from tests.e2e.visitors import Running, running


def main(arguments: Sequence[str]) -> int:
    """Play every fault, print its account; 1 when a request failed, or more is missing than was counted."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="firstcause-stack-") as folder, running(Path(folder)) as stack:
        return max([_told(play(stack)) for play in _plays(options.outage)], default=0)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench stack", description=main.__doc__)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds that something is away")
    return parser.parse_args(arguments)


def _plays(outage: float) -> list[Callable[[Running], Trial]]:
    return [
        lambda stack: trials.agent_away(stack, outage, signal.SIGTERM),
        lambda stack: trials.agent_away(stack, 1.0, signal.SIGKILL),
        lambda stack: trials.agent_full(stack, outage),
        lambda stack: trials.stores_away(stack, outage),
        trials.gateway_killed,
    ]


def _told(trial: Trial) -> int:
    print(trial, flush=True)
    # What nobody counted must not be missing; of a killed gateway's undecided traces nobody can know.
    return int(bool(trial.account.failed) or trial.lost > trial.dropped)
