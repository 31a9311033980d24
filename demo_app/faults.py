"""The faults there are, in words; what they should be diagnosed as is known to the judge alone."""

from __future__ import annotations

FAULTS = {
    "pool_leak": "orders takes database connections and never gives them back",
    "slow_query": "one statement in orders became slow and drains its pool",
    "payments_lock": "payments makes everybody wait for one lock",
    "payments_db": "payments' database answers slowly",
    "cache_down": "the cache's Redis is stopped",
    "loop_blocked": "a blocking call in an async handler of gateway",
    "busy_neighbour": "processes of somebody else burn the services' core",
    "exception": "one route of gateway raises for some inputs",
}
BROWSER_FAULTS = {
    "slow_region": "visitors from South America reach the shop over a slow line",
    "heavy_script": "a script of the pages computes for seconds before anything is drawn",
    "release_throws": "the pages' release 1.0.1 throws in every browser",
    "slow_image": "the picture of a product comes in small pieces",
    "slow_page_server": "orders' statement for product pages became slow; no other route needs it",
}
"""What only browsers see: a round of these has visitors."""
LOOK_ALIKES = {
    "payments_slow_self": "payments takes half a second of its own, within its own objective",
    "busy_loop": "gateway computes in an async handler while orders answers normally",
    "overlap": "orders makes two overlapping calls, one of them slow",
    "retry": "payments fails once per payment and orders tries again",
    "unknown_thread": "gateway sleeps in a thread that nothing instruments",
    "timeout": "orders answers so late that gateway gives up first",
    "hold_across_call": "orders holds a connection across its call to payments",
}
HARMLESS = ("hold_across_call", "retry")
"""Look-alikes that hurt nobody while all else is well: the right answer to them is silence."""
