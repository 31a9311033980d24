"""Two hundred threads at the same moment; says how many came through."""

import threading

from opentelemetry import metrics, trace

import firstcause

THREADS, EACH = 200, 20
firstcause.configure("storm")
begin, done = threading.Barrier(THREADS), []


def everything(number: int) -> None:
    """Spans in spans, a metric and a record, after all have come."""
    begin.wait()
    for _ in range(EACH):
        with trace.get_tracer("storm").start_as_current_span("outer") as outer:
            with trace.get_tracer("storm").start_as_current_span("inner") as inner:
                inner.set_attribute("number", number)
                assert inner.parent.span_id == outer.context.span_id
            metrics.get_meter("storm").create_counter("stormed").add(1)
            firstcause.get_logger().info("storm", number=number)
    done.append(number)


threads = [threading.Thread(target=everything, args=(number,)) for number in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
# An end is bounded to two seconds, and a busy machine may want more for all this.
print("done", len(done), firstcause.flush(60), flush=True)
