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
LOOK_ALIKES = {
    "payments_slow_self": "payments takes half a second of its own, within its own objective",
    "busy_loop": "gateway computes in an async handler while orders answers normally",
    "overlap": "orders makes two overlapping calls, one of them slow",
    "retry": "payments fails once per payment and orders tries again",
    "unknown_thread": "gateway sleeps in a thread that nothing instruments",
    "timeout": "orders answers so late that gateway gives up first",
    "hold_across_call": "orders holds a connection across its call to payments",
}
