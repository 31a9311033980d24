"""`python -m firstcause_rum`: the endpoint alone, under uvicorn; settings come from the environment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import firstcause

from .asgi import Endpoint


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; 2 when something cannot work."""
    parser = argparse.ArgumentParser(prog="firstcause-rum", description="Takes what users' browsers saw.")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", type=int, default=9465, help="its port (9465)")
    options = parser.parse_args(arguments)
    try:
        from . import server
    except ImportError as missing:
        print(f"firstcause-rum: {missing.name} is missing: pip install 'firstcause-rum[server]'", file=sys.stderr)
        return 2
    try:
        endpoint = Endpoint()
        # Many small events come at once: a longer queue than a service's own.
        queue = None if os.environ.get("OTEL_BLRP_MAX_QUEUE_SIZE") else 65_536
        setup = firstcause.configure(os.environ.get("OTEL_SERVICE_NAME") or "rum", log_queue=queue)
    except firstcause.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(setup, file=sys.stderr)
    server.run(endpoint, options.host, options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
