"""What is made from a form says what is said at length."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from firstcause.diagnosis.unit import UnitReport
from firstcause.export.otlp import encode_logs
from firstcause.logs import Canonical
from firstcause.logs.canonical import Told

words = st.text(max_size=20).filter(lambda text: "\ud800" not in ascii(text)) | st.sampled_from(
    ["/items/{id}", 'a"b', "100%", "%s", "{}", "ünï", "\n", "/a\\b"]
)
ids = st.text("abcdef0123456789", max_size=40)
ns = st.integers(0, 2**45)
reports = st.builds(
    UnitReport, kind=st.sampled_from(["server", "consumer", "websocket"]), method=st.sampled_from(["GET", "WS", ""]),
    route=words, status=st.integers(0, 599), wall_ns=ns, cpu_ns=ns, memory_bytes=st.integers(0, 2**40),
    in_flight=st.integers(0, 5000), outcome=st.sampled_from(["ok", "cancelled", "degraded", "slow", "error"]),
    request_id=st.text("abc-._Z9", min_size=1, max_size=128), session_id=ids, user_hash=ids,
    trace_id=st.integers(0, 2**128 - 1), span_id=st.integers(0, 2**64 - 1), sampled=st.booleans(),
    started_ns=st.integers(0, 2**61), shares=st.dictionaries(words, ns, max_size=4),
    error_type=st.sampled_from(["", "", "KeyError"]),
)  # fmt: skip


def decoded(record: Any) -> tuple[Any, dict[str, Any]]:
    """A record as a collector sees it: everything but its attributes, and those by name."""
    request = ExportLogsServiceRequest.FromString(encode_logs({}, [record]))
    log = request.resource_logs[0].scope_logs[0].log_records[0]
    attributes = {pair.key: pair.value for pair in log.attributes}
    del log.attributes[:]
    return log, attributes


@given(st.lists(reports, min_size=1, max_size=3))
def test_a_form_says_the_same_line(found: list[UnitReport]) -> None:
    """JSON of the form, and JSON of the whole line."""
    canonical = Canonical('sh"op %', None, None)
    for report in found:
        told = Told(canonical, report)
        assert orjson.loads(told._whole()) == orjson.loads(told.line())


@given(st.lists(reports, min_size=1, max_size=3))
def test_a_form_says_the_same_record(found: list[UnitReport]) -> None:
    """The form's encoding, and that of a record with the same facts."""
    canonical = Canonical("shop", None, None)
    for report in found:
        told = Told(canonical, report)
        assert decoded(told.record()) == decoded(told)


def test_forms_are_bounded() -> None:
    """Routes of a stranger's making do not fill the memory."""
    canonical = Canonical("shop", None, None)
    for number in range(5000):
        Told(canonical, UnitReport(route=f"/{number}")).line()
    assert len(canonical._forms) <= 1024
