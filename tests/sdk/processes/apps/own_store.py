"""The Flask service with the three lines in it."""

from store import app

import firstcause

firstcause.configure(service="store", app=app)
__all__ = ["app"]
