"""The browser of these tests: the one that visits the demo shop."""

from demo_app.chromium import PATIENCE_S, Browser, Tab, chromium

__all__ = ["PATIENCE_S", "Browser", "Tab", "chromium"]
