"""OTLP as JSON over HTTP, to the agent."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from .stack import Stack


def post(stack: Stack, signal: str, body: dict[str, Any]) -> None:
    """Send one export request; raises when it is not taken."""
    head = {"content-type": "application/json"}
    request = urllib.request.Request(f"{stack.collector}/v1/{signal}", json.dumps(body).encode(), head)
    with urllib.request.urlopen(request, timeout=20) as reply:
        reply.read()
