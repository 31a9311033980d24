"""The server seams: ASGI (FastAPI, Starlette) and WSGI (Flask)."""
