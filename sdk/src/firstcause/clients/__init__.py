"""Adapters for the clients that matter: a frame and a span around every wait, and ids on the way out.

In: calls of libraries. Here: thin patches, idempotent and undone by `uninstrument_all`. Out: frames,
spans, headers. A library is touched only once the host has imported it, or when it does.
"""

from .attach import install, instrument_all, uninstrument_all

__all__ = ["install", "instrument_all", "uninstrument_all"]
