"""What every test gets: hypothesis bounded for slow shared machines."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A property is checked on as many examples everywhere; only the clock of a busy machine is not trusted.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("here"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
