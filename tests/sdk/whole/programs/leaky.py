"""A service that handles secrets everywhere, as services do; PostgreSQL at DATABASE_URL, others at THIRD and PEER."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from typing import Any

import httpx
import structlog
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from opentelemetry import baggage, context, metrics, trace
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

import firstcause
from tests.sdk.whole.planted import PLANTED

app = FastAPI()
setup = firstcause.configure(service="leaky", app=app)
print(json.dumps({"event": "up", "metrics": setup.metrics_address}), flush=True)
log = firstcause.get_logger("shop")
stdlib = logging.getLogger("shop.orders")
tracer = trace.get_tracer("some.instrumentation", "1.2")
engine = create_engine(os.environ["DATABASE_URL"])
client = httpx.AsyncClient(timeout=20)
with engine.begin() as setting_up:
    setting_up.execute(text("create table users (email text primary key, password text)"))


@app.post("/leak/{segment}")
async def leak(segment: str, request: Request) -> Response:
    """Everything that may go well."""
    await request.body()
    firstcause.identify(user=PLANTED["user id"], session=PLANTED["session id"])
    _log()
    _database()
    _third_party_spans()
    token = context.attach(baggage.set_baggage("otel-member", PLANTED["otel baggage"]))
    await _ask(os.environ["THIRD"], PLANTED["outgoing query"], user=PLANTED["outgoing user info"])
    await _ask(os.environ["PEER"], PLANTED["own peer query"])
    context.detach(token)
    with firstcause.spending("lock:stock", f"token={PLANTED['spending detail']}"):
        pass
    counter = metrics.get_meter("shop").create_counter("shop.orders")
    counter.add(1, {"api_key": PLANTED["metric attribute"]})
    return JSONResponse({}, headers={"set-cookie": f"session={PLANTED['set-cookie']}"})


def _log() -> None:
    structlog.contextvars.bind_contextvars(api_key=PLANTED["bound log field"])
    log.info(
        "login",
        password=PLANTED["log field"],
        request={"headers": [{"Authorization": f"Bearer {PLANTED['nested log field']}"}]},
    )
    log.warning(f"retrying with token={PLANTED['log message']} once more")  # noqa: G004
    stdlib.info("connecting to %s", f"postgresql://app:{PLANTED['stdlib argument']}@db.internal/shop")
    stdlib.info("again", extra={"dsn": f"redis://:{PLANTED['stdlib extra dsn']}@cache/0"})
    try:
        try:
            raise ConnectionError(f"cannot reach amqp://guest:{PLANTED['logged cause']}@queue/")
        except ConnectionError as cause:
            raise RuntimeError(f"secret={PLANTED['logged exception']}") from cause
    except RuntimeError:
        stdlib.exception("it failed")
        log.exception("it failed again")


def _database() -> None:
    with engine.begin() as connection:
        literal, comment = PLANTED["sql literal"], PLANTED["sql comment"]
        connection.execute(text(f"select count(*) from users where password = '{literal}' /* {comment} */"))
        row = {"email": PLANTED["sql duplicate"], "password": PLANTED["sql parameter"]}
        connection.execute(text("insert into users values (:email, :password)"), row)
    for statement in (
        f"insert into users values ('{PLANTED['sql duplicate']}', '{PLANTED['sql error literal']}')",
        f"select dblink('host=db password={PLANTED['textual dsn']}')",
    ):
        try:
            with engine.begin() as connection:
                connection.execute(text(statement))
        except SQLAlchemyError:
            log.exception("the database refused")


async def _ask(base: str, secret: str, user: str = "") -> None:
    url = f"{base}/charge?api_key={secret}"
    if user:
        url = url.replace("://", f"://shop:{user}@")
    await client.get(url, headers={"x-api-key": PLANTED["outgoing header"]})


def _third_party_spans() -> None:
    """What instrumentation libraries set, unredacted."""
    linked = SpanContext(7, 7, is_remote=True, trace_flags=TraceFlags(1))
    with tracer.start_as_current_span(
        f"GET https://api.test/?token={PLANTED['span name']}",
        kind=SpanKind.CLIENT,
        links=[Link(linked, {"password": PLANTED["span link"]})],
    ) as span:
        span.set_attributes({
            "http.url": f"https://shop:x@api.test/orders?sig={PLANTED['span http.url']}",
            "http.target": f"/orders?key={PLANTED['span http.target']}",
            "db.statement": f"select * from users where email = '{PLANTED['span db.statement']}'",
            "http.request.header.authorization": (f"Bearer {PLANTED['span attribute key']}",),
            "process.command_args": ("serve", f"--password={PLANTED['span attribute list']}"),
            "note": f"postgresql://app:{PLANTED['span attribute text']}@db/shop",
        })  # fmt: skip
        span.add_event("retry", {"cookie": PLANTED["span event"]})
        span.add_event(f"token={PLANTED['span event name']}")
        span.set_status(Status(StatusCode.ERROR, f"password={PLANTED['span status']}"))
        span.record_exception(ValueError(f"token={PLANTED['span exception']}"))
    trace.get_current_span().set_attribute("user.password", PLANTED["current span attribute"])


@app.get("/handled")
async def handled() -> Response:
    """Fails in a span, and says so politely."""
    try:
        with tracer.start_as_current_span("charge"):
            raise LookupError(f"card for token={PLANTED['handled exception']}")
    except LookupError:
        return Response(status_code=500)


@app.get("/fails")
async def fails() -> None:
    """Fails in its own code, with a DSN in the message and another in its cause."""
    try:
        raise ConnectionError(f"password={PLANTED['raised cause']} was refused")
    except ConnectionError as cause:
        message = f"postgresql://app:{PLANTED['raised dsn']}@db/shop api_key={PLANTED['raised assignment']}"
        raise RuntimeError(message) from cause


@app.get("/call-fails")
async def call_fails() -> dict[str, Any]:
    """Fails because somebody else did, at an address with a secret."""
    answer = await client.get(f"{os.environ['THIRD']}/status/503?sig={PLANTED['failed call detail']}")
    return {"status": answer.raise_for_status().status_code}


if __name__ == "__main__":
    config = uvicorn.Config(app, log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
