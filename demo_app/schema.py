"""`python -m demo_app.schema`: the databases, roles and tables of the shop on a server of its own; safe to repeat.

Passwords are set at each run, so that a renewed secret is in force after the next start.
"""

from __future__ import annotations

import os

from sqlalchemy import Connection, create_engine, make_url, text

from .settings import required

SCHEMA = """
CREATE TABLE products (sku int PRIMARY KEY, name text, price int, stock int);
INSERT INTO products SELECT n, 'product ' || n, n * 100, 10 FROM generate_series(1, 60) AS n;
CREATE TABLE orders (id serial PRIMARY KEY, buyer text, sku int, at timestamptz DEFAULT now());
CREATE TABLE outbox (order_id int);
"""
PAYMENTS_SCHEMA = "CREATE TABLE payments (order_id int, amount int);"
DATABASES = {"shop": SCHEMA, "payments": PAYMENTS_SCHEMA}
ROLES = {"shop": "SHOP_PASSWORD", "monitor": "MONITOR_PASSWORD"}
"""Who logs in, and the variable with the password: the services, and the Collector."""


def main() -> None:
    """Bring the server to what the services expect."""
    url = make_url(required("ADMIN_URL"))
    # CREATE DATABASE is refused inside a transaction.
    with create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        for role, variable in ROLES.items():
            log_in(connection, role, os.environ[variable])
        # Without it pg_stat_activity hides from the Collector what the sessions of others do.
        connection.execute(text("GRANT pg_monitor TO monitor"))
        known = set(connection.execute(text("SELECT datname FROM pg_database")).scalars())
        for name in sorted(DATABASES.keys() - known):
            connection.execute(text(f"CREATE DATABASE {name} OWNER shop"))
    for name, schema in DATABASES.items():
        with create_engine(url.set(database=name)).begin() as connection:
            fill(connection, schema)


def log_in(connection: Connection, role: str, password: str) -> None:
    """Let a role log in with this password; it is made when it is missing."""
    found = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).first()
    verb = "ALTER" if found else "CREATE"
    # Statements about roles take no parameters; the server does the quoting.
    quoted = connection.execute(text("SELECT quote_literal(:password)"), {"password": password}).scalar_one()
    # psycopg takes a % for a placeholder, also where there are no parameters.
    connection.exec_driver_sql(f"{verb} ROLE {role} LOGIN PASSWORD {quoted}".replace("%", "%%"))


def fill(connection: Connection, schema: str) -> None:
    """The tables, as property of the services' role, when there are none yet."""
    if connection.execute(text("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")).first():
        return
    # Since PostgreSQL 15 only a database's owner may create in public, and this one may be older, and somebody else's.
    connection.execute(text("GRANT ALL ON SCHEMA public TO shop"))
    connection.execute(text("SET ROLE shop"))
    tables(connection, schema)


def tables(connection: Connection, schema: str) -> None:
    """Run the statements of a schema."""
    for statement in filter(str.strip, schema.split(";")):
        connection.execute(text(statement))


if __name__ == "__main__":
    main()
