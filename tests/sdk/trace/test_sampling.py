"""A share of the traces, held against the SDK's own samplers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased

from firstcause._config import Config
from firstcause._plugins import sampler
from firstcause.trace.context import Remote
from firstcause.trace.provider import TracerProvider

NAMES = ("always_off", "traceidratio", "parentbased_always_off", "parentbased_traceidratio")


def stock(name: str, ratio: float) -> Sampler:
    """The same by the SDK's."""
    root = ALWAYS_OFF if name.endswith("always_off") else TraceIdRatioBased(ratio)
    return ParentBased(root) if name.startswith("parentbased_") else root


@given(
    name=st.sampled_from(NAMES),
    ratio=st.floats(0, 1) | st.sampled_from((0.0, 1.0)),
    trace_id=st.integers(1, 2**128 - 1),
    flags=st.none() | st.integers(0, 3),
    trusted=st.booleans(),
)
def test_decides_as_the_sdk_does(name: str, ratio: float, trace_id: int, flags: int | None, trusted: bool) -> None:
    """For any trace, under any parent or none, and for a child span as well."""
    remote: Remote | None = None if flags is None else (trace_id, 7, flags, "other=1")
    ours = sampler(Config(service="t", sampler=name, sampler_arg=str(ratio)))
    said = []
    for chosen in (ours, stock(name, ratio)):
        provider = TracerProvider({}, lambda _span: None, sampler=chosen)
        provider.new_trace_id = lambda: trace_id
        root = provider.server_span("GET", remote, 1, {}, trusted=trusted)
        child = provider.get_tracer("t").start_span("child", trace.set_span_in_context(root))
        said.append([(span.flags & 1, bool(span.recording), span.trace_state) for span in (root, child)])
    assert said[0] == said[1]
