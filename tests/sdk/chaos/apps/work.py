"""What both applications do in a request: spans, records, metrics, and objects that raise when looked at."""

import logging

import structlog
from opentelemetry import metrics, trace


class Nasty:
    """Raises whatever is asked of it."""

    def _fail(self, *_args, **_named):
        raise RuntimeError("on purpose")

    __str__ = __repr__ = __hash__ = __eq__ = __bool__ = __len__ = __iter__ = __format__ = __int__ = __float__ = _fail


class NastyText(str):
    """A string that cannot be printed."""

    __slots__ = ()
    __str__ = __repr__ = __format__ = Nasty._fail


class NastyError(Exception):
    """An error that cannot be printed."""

    __str__ = __repr__ = Nasty._fail


def work(number: int) -> int:
    """Everything once; its result is plain."""
    tracer, meter = trace.get_tracer("chaos"), metrics.get_meter("chaos")
    with tracer.start_as_current_span("work", attributes={"nasty": Nasty(), "text": NastyText("x"), "list": [Nasty()]}) as span:
        span.set_attribute("nasty", Nasty())
        span.set_attributes({NastyText("key"): Nasty(), "number": number})
        span.add_event("seen", {"nasty": Nasty()})
        span.update_name(NastyText("work"))
        span.record_exception(NastyError())
        span.set_status(trace.StatusCode.ERROR, NastyText("because"))
        meter.create_counter("chaos.worked").add(1, {"kind": "some"})
        meter.create_histogram("chaos.size").record(number, {"kind": "some"})
        logging.getLogger("chaos").info("worked %d", number, extra={"nasty": Nasty(), "text": NastyText("x")})
        structlog.get_logger("chaos").info("worked", nasty=Nasty(), text=NastyText("x"))
    return number
