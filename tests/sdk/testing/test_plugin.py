"""The fixture, in whole pytest runs of a project of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import firstcause

SDK = Path(firstcause.__file__).parents[1]
APP = """
import firstcause
from fastapi import FastAPI

app = FastAPI()
CONFIGURE


@app.get("/orders/{order_id}")
async def order(order_id: int) -> dict[str, int]:
    with firstcause.spending("db:shop"):
        firstcause.get_logger().info("order read", order_id=order_id)
    return {"id": order_id}
"""
CONFIGURE = 'firstcause.configure(service="orders", app=app, objectives={"default": 0.25}, endpoint="http://127.0.0.1:9")'
TESTS = """
import httpx, pytest
from firstcause import _guard, _setup
from service import app


async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get("/orders/7")


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.asyncio
async def test_asyncio(capcause, turn):
    answer = await ask()
    assert f"{1:032x}" == answer.headers["x-request-id"]
    capcause.assert_logged("order read", order_id=7)
    assert "orders" == _setup._state.config.service
    assert 1 == len(capcause.requests)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_anyio(capcause):
    assert 200 == (await ask()).status_code
    capcause.assert_no_errors()


@pytest.mark.asyncio
async def test_objectives_are_the_applications(capcause):
    clock = capcause.freeze()
    with capcause.unit("load"):
        clock.tick("300ms")
    capcause.assert_cause("app.slow", service="orders")


@pytest.mark.asyncio
async def test_without_the_fixture_nothing_is_captured_or_strict():
    before = dict(_guard.self_counts())
    await ask()
    assert _guard._strict is False
    assert all(place.processors == () for place in [p for p in [getattr(_setup.recorder(), "provider", None)] if p])
"""
DJANGO = {
    "settings.py": """
SECRET_KEY = "x"
ROOT_URLCONF = "urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
""",
    "urls.py": """
from django.db import connection
from django.http import HttpResponse
from django.urls import path

def order(request, order_id):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [order_id])
        return HttpResponse(str(cursor.fetchone()[0]))

def broken(request):
    raise RuntimeError("no tea")

urlpatterns = [path("orders/<int:order_id>", order), path("broken", broken)]
""",
    "conftest.py": """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
""",
    "test_orders.py": """
import pytest

@pytest.mark.parametrize("turn", range(2))
def test_sync(capcause, turn):
    from django.test import Client
    answer = Client().get("/orders/7")
    assert (b"7", f"{1:032x}") == (answer.content, answer["X-Request-ID"])
    capcause.assert_queries("==1", route="GET /orders/<int:order_id>")
    assert capcause.requests[0].queries[0].place == "urls.py:8 in order"

@pytest.mark.asyncio
async def test_async(capcause):
    from django.test import AsyncClient
    assert b"7" == (await AsyncClient().get("/orders/7")).content
    capcause.assert_queries("==1", route="GET /orders/<int:order_id>")

def test_error(capcause):
    from django.test import Client
    with pytest.raises(RuntimeError):
        Client().get("/broken")
    capcause.assert_cause("app.exception", route="GET /broken")

def test_nothing_is_left():
    from django.test import AsyncClient, Client
    from django.test.client import AsyncClientHandler, ClientHandler
    assert not hasattr(ClientHandler.__call__, "__wrapped__")
    assert not hasattr(AsyncClientHandler.__call__, "__wrapped__")
    assert "X-Request-ID" not in Client().get("/orders/7").headers
""",
}
FAILING = """
import httpx, pytest
from service import app


@pytest.mark.asyncio
async def test_fails(capcause):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        await client.get("/orders/7")
    capcause.assert_spends("app", "<0%")
"""


@pytest.fixture(name="project", params=["configured at import", "configured in a fixture"])
def _project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    early = request.param == "configured at import"
    (tmp_path / "service.py").write_text(APP.replace("CONFIGURE", CONFIGURE if early else ""))
    late = f"import firstcause, pytest\nfrom service import app\n@pytest.fixture\ndef capcause(capcause):\n    {CONFIGURE}\n    return capcause\n"
    (tmp_path / "conftest.py").write_text("" if early else late)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(project: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of pytest on the project, with these plugins only."""
    plugins = ("firstcause.testing.plugin", "pytest_asyncio.plugin", "anyio.pytest_plugin", "xdist.plugin")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(w for p in plugins for w in ("-p", p)), *arguments]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "FIRSTCAUSE_", "PYTEST_"))}
    environment = {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": os.pathsep.join([str(project), str(SDK)])}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_djangos_own_test_clients_make_requests(tmp_path: Path) -> None:
    """They call no handler that a server would call, and their requests are captured all the same."""
    for name, text in DJANGO.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    status, output = run(tmp_path)
    assert (0, True) == (status, bool(re.search(r"^5 passed", output, re.MULTILINE))), output


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_fixture_works_with_every_runner(project: Path, workers: str) -> None:
    """pytest-asyncio, anyio, pytest-xdist; an application configured at import, or for each test."""
    (project / "test_service.py").write_text(TESTS)
    status, output = run(project, "-n", workers)
    assert (0, True) == (status, bool(re.search(r"^6 passed", output, re.MULTILINE))), output


def test_a_failure_points_at_the_test(project: Path) -> None:
    """pytest shows the test's own line and the request, and no frame of the kit."""
    (project / "test_service.py").write_text(FAILING)
    status, output = run(project)
    assert 1 == status
    assert 'capcause.assert_spends("app", "<0%")' in output
    assert re.search(r"^E +GET /orders/\{order_id\} 200, ok, [\d.]+ ms$", output, re.MULTILINE), output
    assert re.search(r"^E +ledger: .*app [\d.]+ ms", output, re.MULTILINE)
    assert "capture.py" not in output


def test_the_plugin_imports_nothing_heavy() -> None:
    """Every pytest run of an environment loads it, so it takes no exporter, framework or OpenTelemetry SDK along."""
    code = (
        "import pytest, sys; before = set(sys.modules); import firstcause.testing.plugin;"
        "print(sorted({n.split('.')[0] if not n.startswith('opentelemetry.') else '.'.join(n.split('.')[:2])"
        " for n in set(sys.modules) - before} & {'fastapi', 'flask', 'structlog', 'opentelemetry.sdk', 'orjson', 'httpx'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SDK)}, capture_output=True, text=True, check=True
    )
    assert "[]" == done.stdout.strip()
