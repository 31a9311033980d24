"""Real servers for the session, and a recorder with all adapters on for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from firstcause import _guard, clients
from firstcause.clients import call
from firstcause.diagnosis import ledger
from tests import parts
from tests.sdk.clients.workbench import Workbench


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL 18 for the session, as `postgresql://…/shop`."""
    with parts.postgres() as part:
        yield part.url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis for the session."""
    with parts.redis() as part:
        yield part.url


@pytest.fixture(name="bench")
def _bench() -> Iterator[Workbench]:
    """Adapters on, working for a fresh recorder; errors of ours are let through."""
    made = Workbench()
    _guard.reset_self_counts()
    _guard.strict(True)
    ledger._targets.clear()  # every test has ports of its own, and a process knows 32 peers
    clients.install(made.recorder)
    clients.instrument_all()
    yield made
    clients.uninstrument_all()
    _guard.strict(False)
    call.RUNTIME.recorder = None
