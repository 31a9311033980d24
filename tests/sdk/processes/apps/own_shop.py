"""The FastAPI service with the three lines in it."""

from shop import app

import firstcause

firstcause.configure(service="shop", app=app)
__all__ = ["app"]
