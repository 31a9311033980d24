"""A Flask service without a word of us in it."""

from typing import Any

from flask import Flask

app = Flask(__name__)


@app.get("/ready")
def ready() -> dict[str, Any]:
    return {"ready": True}


@app.get("/items/<int:number>")
def item(number: int) -> dict[str, Any]:
    return {"number": number}
