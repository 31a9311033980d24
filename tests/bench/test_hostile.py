"""The hostile bench sees what it is there to see."""

from __future__ import annotations

from typing import Any

import pytest

from bench import hostile
from bench.hostile_apps import asgi_application, wsgi_application

REQUESTS = 200


def requests(seed: int = 7) -> list[hostile.Request]:
    """The first few of a seed."""
    mutator = hostile.Mutator(seed)
    return [mutator.request() for _ in range(REQUESTS)]


async def compared(first: Any, second: Any) -> hostile.Tally:
    """Both applications asked the same through ASGI."""
    tally = hostile.Tally()
    for request in requests():
        answers = await hostile.through_asgi(first, request), await hostile.through_asgi(second, request)
        tally.compare("asgi", request, *answers)
    return tally


def test_a_seed_makes_the_same_requests_again() -> None:
    """So that a difference can be looked at; another seed makes others."""
    assert requests() == requests()
    assert requests() != requests(8)


async def test_the_same_application_twice_gives_the_same_answers() -> None:
    """Nothing in the application or the driver is random; every kind of answer is among them."""
    tally = await compared(asgi_application(), asgi_application())
    assert 0 == tally.different
    assert {"asgi 200", "asgi 203", "asgi 404", "asgi 405", "asgi 500"} <= tally.statuses.keys()


@pytest.mark.parametrize("change", ["header", "body", "split", "swallowed"])
async def test_a_middleware_that_changes_anything_is_noticed(change: str) -> None:
    """A header, a byte, the division of a body into messages, an exception that does not come out."""
    app = asgi_application()

    async def changed(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if change == "header" and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-more", b"1")]}
            if message["type"] == "http.response.body":
                if change == "body":
                    message = {**message, "body": message.get("body", b"") + b"!"}
                if change == "split":
                    await send({**message, "more_body": True})
                    message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
            await send(message)

        try:
            await app(scope, receive, sent)
        except LookupError:
            if change != "swallowed":
                raise

    assert 0 < (await compared(asgi_application(), changed)).different


def test_the_wsgi_driver_sees_bodies_and_headers() -> None:
    """Two different applications give different answers, the same one the same."""
    first, second = wsgi_application(), wsgi_application()
    second.after_request(lambda answer: answer.headers.add("x-more", "1") or answer)
    request = next(request for request in requests() if request.path == "/echo" and request.method == "POST")
    assert hostile.through_wsgi(first, request) == hostile.through_wsgi(wsgi_application(), request)
    assert hostile.through_wsgi(first, request) != hostile.through_wsgi(second, request)
