"""A FastAPI service without a word of us in it."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/ready")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    return {"number": number}
