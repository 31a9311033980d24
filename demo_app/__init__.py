"""A shop worth observing: gateway, orders, payments and worker on real PostgreSQL and Redis."""
