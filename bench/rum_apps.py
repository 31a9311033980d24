"""The Flask applications of `bench.rum`.

`plain` is what a team writes first: a Flask view that validates the same body by jsonschema. `blueprint` is ours.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request

ENUM = {
    "nav": [
        "navigate", "reload", "back-forward", "back-forward-cache", "prerender", "restore", "soft-navigation",
    ],
    "dev": ["mobile", "tablet", "desktop"], "net": ["slow-2g", "2g", "3g", "4g"],
}  # fmt: skip
MS = {"type": "number", "minimum": 0, "maximum": 3_600_000}


def text(most: int) -> dict[str, Any]:
    """A string of at most so many characters."""
    return {"type": "string", "maxLength": most}


def of(required: str, **properties: Any) -> dict[str, Any]:
    """An object."""
    return {"type": "object", "required": required.split(), "properties": properties}


def kind(which: str, /, required: str = "", **properties: Any) -> dict[str, Any]:
    """An item of one kind."""
    return of(f"k t {required}", k={"const": which}, t={"type": "number", "minimum": 0}, **properties)


def several(names: str) -> dict[str, Any]:
    """Durations."""
    return dict.fromkeys(names.split(), MS)


SCRIPT = of("", src=text(500), own={"enum": [0, 1]}, ms=MS, n={"type": "integer"}, fn=text(200))
KINDS = (
    kind("view"),
    kind(
        "vital", "name id val", name={"enum": ["LCP", "INP", "CLS", "FCP", "TTFB"]}, id=text(64), val=MS,
        dlt={"type": "number"},
        at=of("", el=text(200), url=text(200), **several("ttfb delay dur rend own third wait req")),
    ),
    kind("load", size={"type": "number"}, proto=text(16), **several("dns tcp tls req res dom load red")),
    kind("work", "blk", n={"type": "integer"}, scripts={"type": "array", "items": SCRIPT}, **several("blk max")),
    kind(
        "err", "kind fp", kind={"enum": ["error", "rejection", "script"]}, type=text(128), msg=text(500),
        stk=text(3000), src=text(500), fp={"type": "string", "pattern": "^[0-9a-f]{8}$"},
    ),
    kind(
        "req", "ms st", how={"enum": ["fetch", "xhr"]}, m=text(16), url=text(500), ms=MS,
        st={"type": "integer", "minimum": 0, "maximum": 599},
    ),
)  # fmt: skip
HEX = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
SCHEMA = of(
    "v ses id seq sent url nav items", v={"const": 1}, ses=HEX, id=HEX, seq={"type": "integer", "maximum": 9999},
    sent={"type": "number", "minimum": 0}, url=text(500), rel=text(64), route=text(128), tz=text(64),
    rtt={"type": "number"}, tp=text(64), mark=text(40), **{name: {"enum": values} for name, values in ENUM.items()},
    items={"type": "array", "minItems": 1, "maxItems": 100, "items": {"oneOf": list(KINDS)}},
)  # fmt: skip


def plain() -> Flask:
    """Validates, and does nothing else."""
    from jsonschema import Draft202012Validator

    app, validator = Flask("plain"), Draft202012Validator(SCHEMA)

    @app.post("/_fc")
    def beacon() -> Response:
        body = request.get_json(force=True)
        return Response(status=204 if validator.is_valid(body) else 400)

    return app


def blueprint() -> Flask:
    """The endpoint on a Flask application, with everything that it sends."""
    import firstcause
    from firstcause_rum.flask import blueprint as made

    app = Flask("pages")
    firstcause.configure("rum", app=app, log_queue=65_536)
    app.register_blueprint(made())
    return app
