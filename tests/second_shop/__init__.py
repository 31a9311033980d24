"""Rooms for a night: Flask, psycopg and Celery, with objectives of its own, and no code in the SDK or compiler for it."""
