"""Marks: proof, under the deployment's key, of who asks and who answers.

A client of the realm marks its requests with a MAC of the trace id; a server that verifies it
answers with its verdict under a MAC of its own, domain-separated, so that an echo of the
request's mark proves nothing.
"""

from __future__ import annotations

from hashlib import blake2s, sha256
from hmac import compare_digest

KEY = "fc"
"""Our member in `tracestate`, and our metric in `Server-Timing`."""
_REQUEST, _ANSWER, _PAGE = b"fc-ask", b"fc-said", b"fc-page"
_DIGITS = 12


def derive(secret: str) -> bytes:
    """The MAC key of a deployment secret of any length."""
    # blake2s takes keys of at most 32 bytes, and a secret may be longer.
    return sha256(b"firstcause mesh " + secret.encode("utf-8", "surrogatepass")).digest()


def request_mark(key: bytes, trace_id: int) -> str:
    """The mark a request carries: 16 hexadecimal digits."""
    return blake2s(trace_id.to_bytes(16, "big"), digest_size=8, key=key, person=_REQUEST).hexdigest()


def verify_request_mark(key: bytes, trace_id: int, mark: str) -> bool:
    """Whether `mark` is the one that `request_mark` makes; takes as long for a near miss as for a far one."""
    return same(mark, request_mark(key, trace_id))


def answer_mark(key: bytes, trace_id: int, content: str) -> str:
    """The mark of an answer: over the trace id and the content."""
    raw = trace_id.to_bytes(16, "big") + content.encode()
    return blake2s(raw, digest_size=8, key=key, person=_ANSWER).hexdigest()


def page_mark(key: bytes, traceparent: str, issued: int) -> str:
    """The mark a page carries back with what its browser saw: `<issued>.<mac>`, issued in seconds since the epoch."""
    raw = f"{traceparent}.{issued}".encode("utf-8", "replace")
    return f"{issued}.{blake2s(raw, digest_size=8, key=key, person=_PAGE).hexdigest()}"


def page_issued(key: bytes, traceparent: str, mark: str) -> int:
    """When a page's mark was issued, in seconds since the epoch; 0 when it is none of ours."""
    issued = mark.partition(".")[0]
    # Before it becomes a number: `int` takes digits of any script, and is slow for a long text.
    if not (issued.isascii() and issued.isdigit() and len(issued) <= _DIGITS):
        return 0
    return int(issued) if same(mark, page_mark(key, traceparent, int(issued))) else 0


def same(a: str, b: str) -> bool:
    """Constant-time comparison of two marks."""
    return compare_digest(a.encode("utf-8", "replace"), b.encode("utf-8", "replace"))
