"""What a service of the shop needs from its environment; a missing value is one clear error."""

from __future__ import annotations

import os
import sys

MEANING = {
    "DATABASE_URL": "postgresql+psycopg://user@host:port/shop, the shop's database",
    "REDIS_URL": "redis://host:port/0, the cache with sessions and carts",
    "QUEUE_URL": "redis://host:port/0, the queue's own Redis",
    "ORDERS_URL": "http://host:port of orders",
    "PAYMENTS_URL": "http://host:port of payments",
    "PORT": "the port to listen on, on 127.0.0.1",
}


def required(name: str) -> str:
    """The variable's value; ends the program with what it is for when it is missing."""
    value = os.environ.get(name, "")
    if not value:
        sys.exit(f"{name} is not set: it is {MEANING[name]}.")
    return value
