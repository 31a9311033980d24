"""What a service of the shop needs from its environment; a missing value is one clear error."""

from __future__ import annotations

import os
import sys

MEANING = {
    "ADMIN_URL": "postgresql+psycopg://superuser@host:port/postgres, for the schema",
    "DATABASE_URL": "postgresql+psycopg://user@host:port/shop, the shop's database",
    "REDIS_URL": "redis://host:port/0, the cache with sessions and carts",
    "QUEUE_URL": "redis://host:port/0, the queue's own Redis",
    "ORDERS_URL": "http://host:port of orders",
    "PAYMENTS_URL": "http://host:port of payments",
    "PORT": "the port to listen on",
}


def required(name: str) -> str:
    """The variable's value; ends the program with what it is for when it is missing.

    `${NAME}` in it is replaced by that variable, so that an address need not hold its password.
    """
    value = os.path.expandvars(os.environ.get(name, ""))
    if not value:
        sys.exit(f"{name} is not set: it is {MEANING[name]}.")
    return value


def listening() -> str:
    """The address to listen on, `LISTEN_HOST`: loopback, unless a container says otherwise."""
    return os.environ.get("LISTEN_HOST") or "127.0.0.1"
