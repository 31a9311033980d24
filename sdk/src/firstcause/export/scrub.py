"""Secrets out of spans, in the pipeline's thread, just before they are encoded.

Our adapters redact what they write. This is for everybody else: instrumentation libraries and
applications put addresses, statements and messages into attributes, events, links and names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..logs.redaction import redact_attributes, redact_value
from .otlp import encode_spans

NAME = 256
"""Longer span names are not remembered, only searched."""


def encode_scrubbed(resource: Mapping[str, Any], spans: Sequence[Any]) -> bytes:
    """What `encode_spans` makes of `spans`, after `scrub`."""
    return encode_spans(resource, [scrub(span) for span in spans])


def scrub(span: Any) -> Any:
    """The same ended span, its attributes, events, links, name and status without secrets."""
    if getattr(span, "shared", None) is not None:  # those hold what is said of every request of a kind: no secrets
        span.own = redact_attributes(span.own)
    else:
        span.attributes = redact_attributes(span.attributes)
    name = span.name
    span.name = _name(name) if len(name) <= NAME else redact_value(name)
    if span.status_message:
        span.status_message = redact_value(span.status_message)
    if span.events:
        span.events = [(redact_value(name), at, redact_attributes(found)) for name, at, found in span.events]
    if span.links:
        span.links = [
            (trace, of, state, redact_attributes(found), flags) for trace, of, state, found, flags in span.links
        ]
    return span


@lru_cache(maxsize=1024)
def _name(name: str) -> str:
    return redact_value(name)
