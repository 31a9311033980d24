"""firstcause: every request carries its own diagnosis, so a page names its cause."""

from ._errors import ConfigError
from ._front import configure, flush, get_logger, identify, shutdown, spending

__all__ = ["ConfigError", "configure", "flush", "get_logger", "identify", "shutdown", "spending"]
__version__ = "0.1.0"
