"""`firstcause doctor`: proves what is attached, and what silently is not.

In: the environment, the application, the command that starts it, a running service. Here: one request is
really served, and what comes out of the process is read as a collector would read it. Out: findings with fixes.

    python -m firstcause.doctor --app shop.main:app
"""

from .command import main
from .examination import Check, Context, Finding, Result

__all__ = ["Check", "Context", "Finding", "Result", "main"]
